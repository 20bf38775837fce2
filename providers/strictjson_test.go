package providers

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestParseObject(t *testing.T) {
	for text, ok := range map[string]bool{
		`{}`: true, ` {"a" : [1, -2.5e3, "x\u00e9\n", true, null, {"b":{}}]} `: true, `{"a":"\ud83d\ude00"}`: true, `{"a":0}`: true, `{"a":-0}`: true,
		``: false, `[]`: false, `"a"`: false, `{`: false, `{"a"}`: false, `{"a":}`: false, `{"a":1,}`: false, `{,}`: false, `{"a":01}`: false,
		`{"a":1}x`: false, `{"a":1}{}`: false, `{"a":1,"a":1}`: false, `{"a":1,"\u0061":1}`: false, `{"a":{"b":1,"b":2}}`: false, `{"a":+1}`: false,
		`{"a":1.}`: false, `{"a":.5}`: false, `{"a":1e}`: false, `{"a":1e999}`: false, `{"a":NaN}`: false, `{'a':1}`: false, `{"a":"` + "\x01" + `"}`: false,
		`{"a":"\ud800"}`: false, `{"a":"\ud800\u0041"}`: false, `{"a":"\udc00"}`: false, "{\"a\":\"\xff\"}": false, `{"a":"\x"}`: false, `{"a":"\u12g4"}`: false,
		"{\"a\":1}\x00": false, "\ufeff{}": false, `{"a":tru}`: false, `{"a":[1 2]}`: false, `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`: false,
	} {
		if _, err := parseObject([]byte(text)); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
	m, _ := parseObject([]byte(`{"A":1,"a":2,"big":12345678901234567890}`))
	if m["A"] != int64(1) || m["a"] != int64(2) || m["big"] != 12345678901234567890.0 {
		t.Errorf("%v", m)
	}
}

// What we take, encoding/json takes too, and reads the same out of it.
func FuzzParseObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,-2.5e3,"x\u00e9\n",true,null,{"b":{}}]}`, `{"a":"\ud83d\ude00"}`, `{"a":1,"a":1}`, `{"a":01}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseObject(data)
		if err != nil {
			return
		}
		d := json.NewDecoder(bytes.NewReader(data))
		var want map[string]any
		if err := d.Decode(&want); err != nil {
			t.Fatalf("%q: encoding/json: %v", data, err)
		}
		if !reflect.DeepEqual(floats(got), any(want)) {
			t.Fatalf("%q: %v, encoding/json: %v", data, got, want)
		}
	})
}

func floats(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case map[string]any:
		for k, w := range v {
			v[k] = floats(w)
		}
	case []any:
		for i, w := range v {
			v[i] = floats(w)
		}
	}
	return v
}
