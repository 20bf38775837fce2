package authz

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func basic(s string) string {
	return "authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(s))
}

func TestExtract(t *testing.T) {
	both := Policy{KeyHeader: "x-api-key", AllowBasic: true}
	for _, c := range []struct {
		headers []string
		want    Reason
		cred    string // kind user secret
	}{
		{nil, ReasonNoCredential, ""},
		{[]string{"authorization: "}, ReasonNoCredential, ""},
		{[]string{"authorization: Bearer"}, ReasonNoCredential, ""},
		{[]string{"authorization: Bearer "}, ReasonNoCredential, ""},
		{[]string{"authorization: Bearer\t"}, ReasonNoCredential, ""},
		{[]string{"authorization: Bearer tok"}, NoReason, "bearer  tok"},
		{[]string{"authorization: bEaReR tok"}, NoReason, "bearer  tok"},
		{[]string{"authorization: Bearer   tok \t"}, NoReason, "bearer  tok"},
		{[]string{"authorization: Bearer a.b-c_d~e+f/g=="}, NoReason, "bearer  a.b-c_d~e+f/g=="},
		{[]string{"authorization: Bearer\ttok"}, ReasonMalformedCredential, ""},
		{[]string{"authorization: Bearer a b"}, ReasonMalformedCredential, ""},
		{[]string{"authorization: Bearer a=b"}, ReasonMalformedCredential, ""},
		{[]string{"authorization: Bearer ="}, ReasonMalformedCredential, ""},
		{[]string{"authorization: Bearer \"a\""}, ReasonMalformedCredential, ""},
		{[]string{"authorization: Bearer a\x00"}, ReasonMalformedCredential, ""},
		{[]string{"authorization: Bearer a,Bearer b"}, ReasonMalformedCredential, ""},
		{[]string{"authorization: Bearer a, Basic b"}, ReasonMalformedCredential, ""},
		{[]string{"authorization: Bearer,Bearer a"}, ReasonMalformedCredential, ""},
		{[]string{"authorization: Bearer a", "authorization: Bearer a"}, ReasonAmbiguousCredential, ""},
		{[]string{"authorization: ", "authorization: Bearer a"}, ReasonAmbiguousCredential, ""},
		{[]string{"x-api-key: a", "x-api-key: b"}, ReasonAmbiguousCredential, ""},
		{[]string{"x-api-key: a,b"}, ReasonMalformedCredential, ""},
		{[]string{"x-api-key: a", "authorization: Bearer a"}, ReasonAmbiguousCredential, ""},
		{[]string{"x-api-key: a", "authorization: Negotiate x"}, ReasonAmbiguousCredential, ""},
		{[]string{"x-api-key: gl_abc"}, NoReason, "key  gl_abc"},
		{[]string{"authorization: Negotiate abc"}, ReasonUnsupportedScheme, ""},
		{[]string{"authorization: Digest username=\"a\", realm=\"b\""}, ReasonUnsupportedScheme, ""},
		{[]string{"authorization: Token abc"}, ReasonUnsupportedScheme, ""},
		{[]string{"authorization: abc"}, ReasonUnsupportedScheme, ""},
		{[]string{"authorization: a/b c"}, ReasonMalformedCredential, ""},
		{[]string{"proxy-authorization: Bearer a"}, ReasonNoCredential, ""},
		{[]string{"authorization_: Bearer a"}, ReasonNoCredential, ""},
		{[]string{"x-forwarded-access-token: a"}, ReasonNoCredential, ""},
		{[]string{"cookie: access_token=a"}, ReasonNoCredential, ""},
		{[]string{basic("alice:pass:word")}, NoReason, "basic alice pass:word"},
		{[]string{basic("alice:pässword")}, NoReason, "basic alice pässword"},
		{[]string{basic("alice")}, ReasonMalformedCredential, ""},
		{[]string{basic(":pw")}, ReasonMalformedCredential, ""},
		{[]string{basic("alice:")}, ReasonMalformedCredential, ""},
		{[]string{basic("alice:a\x00b")}, ReasonMalformedCredential, ""},
		{[]string{basic("alice:a\r\nb")}, ReasonMalformedCredential, ""},
		{[]string{basic("alice:\xff")}, ReasonMalformedCredential, ""},
		{[]string{basic("alice:" + strings.Repeat("x", 9000))}, ReasonMalformedCredential, ""},
		{[]string{"authorization: Basic YTpi!"}, ReasonMalformedCredential, ""},
		{[]string{"authorization: Basic YTpiYg"}, ReasonMalformedCredential, ""},   // no padding
		{[]string{"authorization: Basic YTo_Pz8="}, ReasonMalformedCredential, ""}, // the URL's alphabet
		{[]string{"authorization: Basic YTpiYh=="}, ReasonMalformedCredential, ""}, // stray bits
	} {
		q := get("/", c.headers...)
		got, why := both.extract(&q)
		if why == NoReason && !got.wellFormed() {
			why = ReasonMalformedCredential
		}
		text := ""
		if why == NoReason {
			text = fmt.Sprintf("%s %s %s", got.Kind, got.User, got.Secret.Reveal())
		}
		if why != c.want || text != c.cred {
			t.Errorf("%q: got %v %q, want %v %q", c.headers, why, text, c.want, c.cred)
		}
	}
}

func TestExtractOnlyWhatIsSwitchedOn(t *testing.T) {
	q := get("/", basic("a:b"))
	if _, why := (&Policy{}).extract(&q); why != ReasonUnsupportedScheme {
		t.Errorf("Basic without being allowed: %v", why)
	}
	q = get("/", "x-api-key: abc")
	if _, why := (&Policy{}).extract(&q); why != ReasonNoCredential {
		t.Errorf("a key header that is not configured: %v", why)
	}
}

func TestSecretIsNeverShown(t *testing.T) {
	s := NewSecret("hunter2")
	b, _ := json.Marshal(map[string]any{"s": s, "c": Credential{Secret: s}})
	shown := string(b) + fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s) +
		fmt.Sprintf("%v %+v %#v", Credential{Secret: s}, &Credential{Secret: s}, []Secret{s}) + s.LogValue().String()
	if strings.Contains(shown, "hunter2") || strings.Contains(shown, "68756e74657232") {
		t.Errorf("shown: %s", shown)
	}
}

func FuzzExtract(f *testing.F) {
	for _, s := range []string{"Bearer a", "Basic YTpi", "Bearer a,Bearer b", "\t", "bearer  x", "Basic ====", "DPoP x"} {
		f.Add(s, "", true)
		f.Add(s, s, false)
	}
	f.Fuzz(func(t *testing.T, header, key string, allowBasic bool) {
		p := Policy{KeyHeader: "x-api-key", AllowBasic: allowBasic}
		q := Request{Headers: []Header{{"authorization", header}, {"x-api-key", key}}}
		c, why := p.extract(&q)
		if (why == NoReason) != (c.Kind != NoCredential) {
			t.Fatalf("%v with %v", c.Kind, why)
		}
		if why != NoReason {
			return
		}
		if c.Secret.IsZero() || c.Kind == Basic && !allowBasic {
			t.Fatalf("%q/%q gave %v", header, key, c.Kind)
		}
		if c.Kind != Basic && c.wellFormed() && strings.ContainsAny(c.Secret.Reveal(), ", \t\x00\r\n\"") {
			t.Fatalf("%q/%q gave a credential with strange bytes", header, key)
		}
	})
}
