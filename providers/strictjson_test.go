package providers

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/providers/providertest"
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

// notJSON are texts in the place of a value that RFC 8259 does not have, or that
// two readers could read in two ways.
var notJSON = []string{
	// structure
	"", "[1,]", "[,1]", "[1 2]", "[1,,2]", "[,]", "[1", "[1,", "[\"a\",\n4\n,1,", "[1}", "[1]]", "]", "[", "[[[", "[][", "[a]", "[\"a\"", "[:1]", "[1:2]", "(1)", "<1>",
	`{"b":1]`, `{"b" 1}`, `{"b":}`, `{"b"}`, `{"b",1}`, `{:1}`, `{b:1}`, `{'b':1}`, `{"b":1,}`, `{"b":1,,"c":2}`, `{,"b":1}`, `{"b":1 "c":2}`, `{1:1}`, `{null:1}`, `{[]:1}`,
	`{"b"::1}`, `{"b":1`, `{"b"`, "{", "}", `{"b":1}}`, `{"b":"c`, `{"b":1;"c":2}`, `{"b"=1}`, `{"b":1}#`, `{"b":1}/**/`, `{"b":1}//`, `{{}}`, `{"b":{}`, `{}}`, `1]`, `1}`, "1,", "1;", "1 2", `"b" "c"`,
	`{"b":1,"b":2}`, `{"b":1,"\u0062":2}`, `{"":1,"":2}`, "*", "&b", "<b/>", "=1", "?", "\\", ",", ":",
	// numbers
	"01", "-01", "00", "+1", "++1", "--1", "-", "- 1", "-a", ".5", "-.5", "1.", "-2.", "1.e1", "1e", "1E", "1e+", "1e-", "0e", "0.e1", "0.1.2", "1e1.5", "1eE2", "1e1e1", "1+2", "0x1", "0X1F", "0b1", "0o7",
	"1_000", "1 000", "1'000", "1f", "1L", "012", "1e400", "-1e400", "1e99999", "Infinity", "-Infinity", "+Infinity", "inf", "NaN", "-NaN", "nan", "\u0661", "1\uff12", "\uff11", "\u00bd",
	// words
	"tru", "truE", "True", "TRUE", "fals", "False", "nul", "Null", "NULL", "nil", "None", "undefined", "yes", "truetrue", "true false", "t", "n",
	// strings
	`"`, `"b`, `b"`, `'b'`, "\u201cb\u201d", `"\x41"`, `"\u12"`, `"\u12G4"`, `"\U00000041"`, `"\'"`, `"\a"`, `"\0"`, `"\ "`, `"\"`, `"\\\"`, `"\u"`, `"\uD834\u"`, `"\uD834\uD"`, `"\` + "\n" + `"`,
	"\"\t\"", "\"\n\"", "\"\r\"", "\"\x00\"", "\"\x1f\"", "\"b\nc\"", `"\ud800"`, `"\udc00"`, `"\ud800\ud800"`, `"\udc00\ud800"`, `"\ud800b"`, `"\ud800\n"`, "`b`",
	// bytes that are no UTF-8
	"\"\xff\"", "\"\x80\"", "\"\xc0\xaf\"", "\"\xc3\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xe2\x28\xa1\"", "\"\xf0\x9f\x98\"", "\"\xfe\xff\"", "\xff", "{\"\xff\":1}",
	// white space and comments that JSON has not
	"\f1", "\v1", "\u00a01", "\u20601", "\u20281", "\ufeff1", "\x001", "1\x00", "/*b*/1", "//b\n1", "#b\n1", "1/**/", "--b\n1",
	// deeper than anybody needs
	strings.Repeat("[", 100_000), strings.Repeat("[", 5000) + strings.Repeat("]", 5000), strings.Repeat(`{"b":`, 5000) + "1" + strings.Repeat("}", 5000),
}

// None of these is taken, alone, as the header of a signed token or as its
// claims; and what is good beside them is.
func TestNotJSON(t *testing.T) {
	i := providertest.NewIssuer(t)
	p, key := newOIDC(t, i, nil), i.Key("ec-1")
	claims := string(mustJSON(i.Claims("alice", nil)))
	takes := func(head, payload string) bool {
		_, err := p.Verify(t.Context(), bearer(key.SignRaw([]byte(head), []byte(payload), "ES256")))
		return err == nil
	}
	in := func(value string) (head, payload string) {
		return `{"alg":"ES256","kid":"ec-1","a":` + value + `}`, `{"a":` + value + "," + claims[1:]
	}
	good, _ := in("1")
	for _, bad := range notJSON {
		shown := bad[:min(len(bad), 40)]
		if _, err := parseObject([]byte(`{"a":` + bad + `}`)); err == nil {
			t.Errorf("%q is taken as a value", shown)
		}
		if _, err := parseObject([]byte(bad)); err == nil && bad != "{}" {
			t.Errorf("%q is taken as an object", shown)
		}
		head, payload := in(bad)
		if takes(head, claims) || takes(good, payload) {
			t.Errorf("%q is taken in a token", shown)
		}
	}
	for _, fine := range []string{"1", "-0", "-1.5E+3", "0e1", `""`, `"\ud83d\ude00 \u0000\/"`, "[]", "{}", " [ 1 ,\t2 ]\r\n", "true", "null", `{"b":{"b":[{"c":null}]}}`, "\"\u007f\u2028\"", "9007199254740993"} {
		head, payload := in(fine)
		if !takes(head, claims) || !takes(good, payload) {
			t.Errorf("%q is refused in a token", fine)
		}
	}
	t.Logf("%d texts that are not JSON are refused, in four places", len(notJSON))
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
