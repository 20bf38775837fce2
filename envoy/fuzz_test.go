package envoy

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/gatelodge/gatelodge/authz"
)

// byGenerated reads a CheckRequest with the generated code alone.
func byGenerated(data []byte) authz.Request {
	var q authz.Request
	s := scan{q: &q}
	if !s.generated(data) {
		return authz.Request{Unreadable: notCheckRequest}
	}
	s.finish()
	return q
}

// sorted undoes the random order of Go's maps.
func sorted(q authz.Request) authz.Request {
	byName := func(a, b authz.Header) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value)) }
	q.Headers, q.Context = slices.Clone(q.Headers), slices.Clone(q.Context)
	slices.SortFunc(q.Headers, byName)
	slices.SortFunc(q.Context, byName)
	return q
}

// agree fails the test where the scan and the generated code read one request
// in two ways.
func agree(t *testing.T, data []byte) {
	t.Helper()
	var q authz.Request
	read(data, &q)
	got, want := sorted(q), sorted(byGenerated(data))
	if got.Unreadable != want.Unreadable {
		if got.Unreadable == "" || want.Unreadable == "" {
			t.Fatalf("%q: unreadable %q, by the generated code %q", data, got.Unreadable, want.Unreadable)
		}
		return // both refuse; which fault is met first depends on the order
	}
	if got.Unreadable != "" {
		return
	}
	if got.Method != want.Method || got.Host != want.Host || got.Path != want.Path || got.Scheme != want.Scheme ||
		got.Certificate != want.Certificate || got.Source != want.Source ||
		!slices.Equal(got.Headers, want.Headers) || !slices.Equal(got.Context, want.Context) {
		t.Fatalf("%q:\nread      %+v\ngenerated %+v", data, got, want)
	}
}

func marshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

// nested wraps bytes as the field of a message, the way down numbers.
func nested(b []byte, numbers ...protowire.Number) []byte {
	for _, n := range slices.Backward(numbers) {
		b = protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
	}
	return b
}

// oddRequests are encodings that a parser by hand is likely to get wrong.
func oddRequests() map[string][]byte {
	plain := checkOf(map[string]string{"authorization": "Bearer x", ":path": "/"})
	good := marshal(plain)
	raw := proto.CloneOf(plain)
	raw.Attributes.Request.Http.Headers = nil
	raw.Attributes.Request.Http.HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
		{Key: "authorization", RawValue: []byte("Bearer \xff")}, {Key: "authorization", RawValue: []byte("b")}, {Key: "x", Value: "v"},
	}}
	both := proto.CloneOf(raw)
	both.Attributes.Request.Http.Headers = plain.Attributes.Request.Http.Headers
	conflict := proto.CloneOf(raw)
	conflict.Attributes.Request.Http.HeaderMap.Headers[0].Value = "other"
	upper := checkOf(map[string]string{"Authorization": "Bearer x", "X-A": "1"})
	mangled := checkOf(map[string]string{"x!": "1"})
	many := map[string]string{}
	for i := range 10_000 {
		many["h"+strings.Repeat("a", i%50)+string(rune('a'+i%26))+strings.Repeat("b", i/50)] = "v"
	}
	method := func(s string) []byte { return nested([]byte(s), 1, 4, 2, 2) }
	header := func(k, v string) []byte {
		return nested(append(nested([]byte(k), 1), nested([]byte(v), 2)...), 1, 4, 2, 3)
	}
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	return map[string][]byte{
		"plain":                 good,
		"raw":                   marshal(raw),
		"both forms":            marshal(both),
		"conflicting raw value": marshal(conflict),
		"upper case":            marshal(upper),
		"mangled":               marshal(mangled),
		"many headers":          marshal(checkOf(many)),
		"large header":          marshal(checkOf(map[string]string{"x": strings.Repeat("v", 2<<20)})),
		"empty":                 {},
		"attributes empty":      nested(nil, 1),
		"no http":               nested(nil, 1, 4),
		"http empty":            nested(nil, 1, 4, 2),
		"twice merged":          join(good, good),
		"method twice":          join(method("GET"), method("POST")),
		"header twice":          join(header("a", "1"), header("a", "2")),
		"headers alike":         join(header("ab", "1"), header("ba", "2")),
		"header without key":    nested(nested([]byte("v"), 2), 1, 4, 2, 3),
		"header without value":  nested(nested([]byte("k"), 1), 1, 4, 2, 3),
		"key twice in an entry": nested(join(nested([]byte("k"), 1), nested([]byte("j"), 1)), 1, 4, 2, 3),
		"not utf-8":             method("G\xffT"),
		"not utf-8, unused":     nested([]byte("\xff"), 1, 4, 2, 7),
		"unknown field":         join(good, nested([]byte("x"), 99)),
		"unknown inside":        nested([]byte("\xff"), 1, 4, 2, 99),
		"wrong wire type":       nested(protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 1), 1, 4, 2),
		"group":                 protowire.AppendTag(protowire.AppendTag(nil, 9, protowire.StartGroupType), 9, protowire.EndGroupType),
		"cut":                   good[:len(good)-3],
		"long varint":           join([]byte{0x8a, 0x80, 0x00}, protowire.AppendBytes(nil, nested(nil, 4, 2))),
		"pipe address":          nested([]byte("/run/x"), 1, 1, 1, 2, 1),
		"metadata":              join(good, nested([]byte("bad"), 1, 11)),
		"size twice":            nested(protowire.AppendVarint(protowire.AppendTag(nil, 9, protowire.VarintType), 1), 1, 4, 2),
	}
}

func TestReadAgreesWithGeneratedCode(t *testing.T) {
	for name, data := range oddRequests() {
		t.Run(name, func(t *testing.T) { agree(t, data) })
	}
}

func TestUnreadable(t *testing.T) {
	odd := oddRequests()
	for name, want := range map[string]string{
		"plain": "", "raw": "", "upper case": "", "metadata": notCheckRequest, "empty": noHTTP, "attributes empty": noHTTP,
		"both forms": bothHeaderForms, "conflicting raw value": conflictingValue, "mangled": mangledName,
		"many headers": tooManyHeaders, "large header": tooManyHeaders, "not utf-8": notCheckRequest, "cut": notCheckRequest,
	} {
		var q authz.Request
		if read(odd[name], &q); q.Unreadable != want {
			t.Errorf("%s: %q, want %q", name, q.Unreadable, want)
		}
	}
	var q authz.Request
	read(odd["raw"], &q)
	if v, lines := q.Header("authorization"); lines != 2 || v != "Bearer \xff" {
		t.Errorf("raw headers: %q, %d lines", v, lines)
	}
}

func FuzzRead(f *testing.F) {
	for _, data := range oddRequests() {
		if len(data) < 4096 {
			f.Add(data)
		}
	}
	f.Fuzz(agree)
}

// Whatever stands in a decision, Envoy can read the answer, takes it as it is
// meant, and no header in it breaks out of its line.
func FuzzWrite(f *testing.F) {
	f.Add(uint8(4), uint8(1), "alice", "a@example.com", "eng", "rule", "client", false)
	f.Add(uint8(1), uint8(9), "a\r\nb", "\xff", "a,b", "r\"", "\x00", true)
	f.Fuzz(func(t *testing.T, outcome, reason uint8, user, email, group, rule, client string, encode bool) {
		p := *policy
		if encode {
			p.NonASCII = authz.PercentEncode
		}
		d := authz.Decision{
			Outcome: authz.Outcome(outcome % 6), Reason: authz.Reason(int(reason) % authz.Reasons), Policy: &p,
			Rule:     &authz.Rule{Name: rule, Allow: authz.Allow{Scopes: []string{rule}, ACR: []string{client}}},
			Identity: &authz.Identity{User: user, Email: email, Groups: []string{group, "x"}, Client: client, TokenID: email},
		}
		var m authv3.CheckResponse
		if err := proto.Unmarshal(render(&p).write(nil, &authz.Request{}, &d), &m); err != nil {
			t.Fatal(err)
		}
		if (m.GetStatus().GetCode() == 0) != (m.GetOkResponse() != nil) || m.GetOkResponse() != nil && d.Outcome != authz.Allowed {
			t.Fatalf("%+v became %v", d, &m)
		}
		for _, h := range append(m.GetOkResponse().GetHeaders(), m.GetDeniedResponse().GetHeaders()...) {
			v := h.GetHeader().GetValue()
			if v == "" || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
				t.Fatalf("%s: %q", h.GetHeader().GetKey(), v)
			}
		}
		if user := m.GetOkResponse().GetHeaders(); m.GetOkResponse() != nil && (len(user) == 0 || user[0].GetHeader().GetKey() != p.Headers.User) {
			t.Fatalf("allowed without a user: %v", &m)
		}
	})
}
