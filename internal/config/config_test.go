package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

var update = flag.Bool("update", false, "write schema.json anew")

func noEnv(string) (string, bool) { return "", false }

// minimal is the least that works.
const minimal = "api_tokens: {store: sqlite:t.db}\n"

func parse(t *testing.T, text string) (*Config, []Message, []Message) {
	t.Helper()
	c, warnings, err := Parse("g.yaml", []byte(text), noEnv)
	var f *Faults
	if err != nil && !errors.As(err, &f) {
		t.Fatalf("not a list of faults: %v", err)
	}
	if f == nil {
		return c, warnings, nil
	}
	return c, warnings, f.List
}

func TestFaultsSayWhereAndWhat(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "g.yaml:1:1: the file is empty"},
		{"\xff", "g.yaml:1:1: the file is not UTF-8"},
		{"a: [", "g.yaml:2:1: not YAML"},
		{"- a", "g.yaml:1:1: the file is to be a mapping"},
		{minimal + "---\n" + minimal, "g.yaml:1:1: more than one document"},
		{minimal + "\nenabeld: true", "g.yaml:3:1: enabeld: is not known; did you mean enabled?"},
		{minimal + "zzz: 1", "g.yaml:2:1: zzz: is not known"},
		{minimal + "mode: enforce\nmode: shadow", "g.yaml:3:1: mode: stands here a second time; the first is in line 2"},
		{minimal + "enabled: yes please", "g.yaml:2:10: enabled: is to be true or false, not text"},
		{minimal + "enabled:", "g.yaml:2:9: enabled: has no value"},
		{minimal + "mode: enforced", `g.yaml:2:7: mode: "enforced" is none of enforce, shadow`},
		{minimal + "listen: [a]", "g.yaml:2:9: listen: is to be a mapping of keys, not a list"},
		{minimal + "listen:\n  grpc: nowhere", `g.yaml:3:9: listen.grpc: "nowhere" is not host:port`},
		{minimal + "listen: {grpc: 'unix:x'}", "listen.grpc: \"unix:x\": a socket's path is to be absolute"},
		{minimal + "listen: {tls: {cert_file: /none}}", "listen.tls.key_file: is missing"},
		{minimal + "listen: {tls: {cert_file: /none}}", "listen.tls.cert_file: cannot be read"},
		{minimal + "cache: {max_entries: many}", "cache.max_entries: is to be a whole number, not text"},
		{minimal + "cache: {max_entries: 0}", "cache.max_entries: is 0; it is to be at least 1"},
		{minimal + "cache: {max_entries: 99999999999999999999}", "cache.max_entries: "},
		{minimal + "cache: {max_revocations: 0}", "cache.max_revocations: is 0; it is to be at least 1"},
		{minimal + "cache: {keep_revocations: 30s}", "cache.keep_revocations: is 30s; it is to be from 1m to 90d"},
		{minimal + "cache: {keep_revocations: 91d}", "it is to be from 1m to 90d"},
		{minimal + "listen: {events: nowhere}", `g.yaml:2:18: listen.events: "nowhere" is not host:port`},
		{minimal + "providers:\n  - {name: x, type: oidc, issuer: 'https://a.example.com', audiences: a, events: {isuer: x}}", "providers[0].events.isuer: is not known; did you mean issuer?"},
		{minimal + "providers:\n  - {name: x, type: oidc, issuer: 'https://a.example.com', audiences: a, events: {issuer: 'https://b.example.com'}}", "providers[0].events.jwks: is missing"},
		{minimal + "limits: {drain_delay: 5}", `limits.drain_delay: "5" is not a time; it is to be a time with its unit`},
		{minimal + "limits: {drain_delay: -5s}", `is negative`},
		{minimal + "headers: {user: Host}", `headers.user: "host" has a meaning of its own`},
		{minimal + "headers: {user: 'x user'}", `headers.user: "x user" is not a header name`},
		{minimal + "headers: {user: ''}", "headers.user: is empty"},
		{minimal + "headers: {user: x-a, email: X-A}", `headers.email: "x-a" is the header of headers.user already`},
		{minimal + "headers: {user: x-a-b-c-d-e-f}", "more than 5 dashes"},
		{minimal + "headers: {user: x-envoy-user}", "has a meaning of its own"},
		{minimal + "headers: {user: ':path'}", `headers.user: ":path" is not a header name`},
		{minimal + "headers: {user: Content-Length}", "has a meaning of its own"},
		{minimal + "headers: {user: connection}", "has a meaning of its own"},
		{minimal + "headers: {email: dpop}", `headers.email: "dpop" has a meaning of its own`},
		{minimal + "headers: {user: x-api-key}", `headers.user: "x-api-key" is the header that carries API tokens`},
		{"api_tokens: {store: 'sqlite:t.db', header: X-Forwarded-User}", `headers.user: "x-forwarded-user" is the header that carries`},
		{minimal + "providers: [{name: static-users, type: oidc}]", `providers[0].name: "static-users" is the name of a provider of our own`},
		{minimal + "rules:\n  - match: {paths: [rest]}", `g.yaml:3:21: rules[0].match.paths[0]: "rest" does not start with /`},
		{minimal + "rules:\n  - match: {paths: /a/**/b}", `rules[0].match.paths[0]: "/a/**/b" has ** before its end`},
		{minimal + "rules:\n  - providers: [sso]", `g.yaml:3:17: rules[0].providers[0]: there is no provider "sso"; there are api-tokens`},
		{minimal + "rules:\n  - {name: a}\n  - {name: a}", `g.yaml:4:12: rules[1].name: "a" is the name of an earlier rule`},
		{minimal + "rules:\n  - {access: public, allow: {users: [a]}}", "rules[0].allow.users: has no effect under access: public"},
		{minimal + "rules:\n  - when: 1 +", "g.yaml:3:11: rules[0].when: "},
		{minimal + "rules:\n  - match: {sources: [10.0.0.1/8]}", "has bits beyond its length; the network is 10.0.0.0/8"},
		{minimal + "rules:\n  - {mtch: {}}", "g.yaml:3:6: rules[0].mtch: is not known; did you mean match?"},
		{"enabled: true", "providers: there is none, and no api_tokens"},
		{"api_tokens: {store: mysql://x}", "api_tokens.store: write sqlite:gatelodge.db, or postgres://"},
		{"api_tokens: {store: 'sqlite:a', header: authorization}", "cannot carry a key"},
		{minimal + "providers:\n  - type: nothing", "g.yaml:3:5: providers[0].name: is missing"},
		{minimal + "providers:\n  - {name: x, type: nothing}", `g.yaml:3:21: providers[0].type: "nothing" is no provider type`},
		{minimal + "admin: {token: {env: NOT_THERE}}", "g.yaml:2:16: admin.token: the environment variable NOT_THERE is not set"},
		{minimal + "admin: {token: {file: /not/there}}", "admin.token: the secret cannot be read from the file that is named here: no such file"},
		{minimal + "admin: {token: {env: the-secret-itself}}", "admin.token: the environment variable that is named here is not set"},
		{minimal + "admin: {token: {vault: x}}", `admin.token: is neither {env: NAME} nor {file: path}`},
		{minimal + "admin: {token: ''}", "admin.token: is empty"},
		{minimal + "admin: {token: short}", "admin.token: is shorter than 16 bytes"},
		{minimal + "admin: {providers: [sso]}", `admin.providers[0]: there is no provider "sso"`},
		{minimal + "admin: {admins: [alice], auditors: [bob, alice]}", `admin.auditors[1]: "alice" stands among admins too`},
		{minimal + "log: {level: loud}", `log.level: "loud" is none of`},
		{minimal + "log: {audit: {allow_sample: 2}}", "log.audit.allow_sample: is 2"},
		{minimal + "realm: &a x", "realm: anchors and aliases are not understood"},
		{minimal + "dpop: {}", "dpop.origins: is missing"},
		{minimal + "dpop: {origins: [https://a/b]}", "dpop.origins[0]: "},
		{minimal + "protected_resource: {resource: 'http://api.example.com'}", "protected_resource.resource: "},
	} {
		_, _, faults := parse(t, c.text)
		var lines []string
		for _, f := range faults {
			lines = append(lines, f.String())
		}
		if all := strings.Join(lines, "\n"); !strings.Contains(all, c.want) {
			t.Errorf("%q:\n got %s\nwant %s", c.text, all, c.want)
		}
	}
}

func TestAllFaultsAtOnceInOrder(t *testing.T) {
	_, _, faults := parse(t, "mode: x\nlisten: {grcp: a}\nenabled: 3\n"+minimal+"log: {level: 1, format: 2}\n")
	if len(faults) < 3 {
		t.Fatalf("%v", faults)
	}
	for i := 1; i < len(faults); i++ {
		if faults[i].Line < faults[i-1].Line {
			t.Errorf("out of order: %v", faults)
		}
	}
}

// A value that cannot be read does not hide what is wrong elsewhere, and brings
// no fault but its own.
func TestOneFaultHidesNoOther(t *testing.T) {
	for text, want := range map[string][]string{
		"bogus: 1\nproviders: [{name: a, type: oidc, issuer: 'http://a.example.com', client_secret: {env: NOPE}, ca_file: /none}]\nlisten: {tls: {cert_file: /none}}": {
			"bogus", "providers[0].client_secret", "providers[0].ca_file", "providers[0].issuer", "providers[0].audiences",
			"listen.tls.cert_file", "listen.tls.key_file",
		},
		"enabled: maybe\nmode: x":                               {"enabled", "mode", "providers"},
		"providers: {}\nrules: [{providers: [a]}]":              {"providers"},
		"providers: [{nme: a}]\nrules: [{providers: [a]}]":      {"providers[0].nme", "providers[0].type"},
		"api_tokens: {stor: 'sqlite:t.db'}":                     {"api_tokens.stor"},
		minimal + "admin: {token: {env: NOPE}, providers: [x]}": {"admin.token", "admin.providers[0]"},
	} {
		_, _, faults := parse(t, text)
		var got []string
		for _, f := range faults {
			got = append(got, f.Key)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q:\n got %q\nwant %q", text, got, want)
		}
	}
}

// A file that is there and holds nothing of use is found before the start, as
// one that is not there: with nobody to trust, nothing could be told apart.
func TestFilesThatHoldNothing(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("nothing of use\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"listen: {tls: {cert_file: empty, key_file: empty}}":                                                             "listen.tls.cert_file: does not go with key_file",
		"listen: {tls: {cert_file: empty, key_file: /none, client_ca_file: empty}}":                                      "listen.tls.client_ca_file: holds no PEM certificate",
		"providers: [{name: a, type: oidc, issuer: 'https://a.example.com', audiences: x, ca_file: empty}]":              "providers[0].ca_file: holds no PEM certificate",
		"providers: [{name: a, type: oidc, issuer: 'https://a.example.com', audiences: x, ca_file: .}]":                  "providers[0].ca_file: cannot be read",
		"providers: [{name: a, type: oidc, issuer: 'https://a.example.com', audiences: x, client_secret: {file: gone}}]": "providers[0].client_secret: the secret cannot be read",
		"log: {audit: {file: /none/audit.log}}":                                                                          "log.audit.file: its folder is not there",
		"api_tokens: {store: 'sqlite:t.db', htpasswd_file: empty}":                                                       `api_tokens.htpasswd_file: line 1: `,
	} {
		if !strings.HasPrefix(text, "api_tokens") {
			text = minimal + text
		}
		_, _, err := Parse(filepath.Join(dir, "g.yaml"), []byte(text), noEnv)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A value in the wrong place may be a secret: it is not to be repeated.
func TestFaultsDoNotShowSecrets(t *testing.T) {
	for _, text := range []string{
		minimal + "admin: {token: [hunter2hunter2hunter2]}", minimal + "admin: {token: {env: {x: hunter2hunter2}}}",
		minimal + "admin: hunter2hunter2", minimal + "admin: {token: {env: [hunter2]}}",
	} {
		_, _, faults := parse(t, text)
		if len(faults) == 0 || strings.Contains((&Faults{List: faults}).Error(), "hunter2") {
			t.Errorf("%q: %v", text, faults)
		}
	}
}

func TestSecureDefaults(t *testing.T) {
	c, warnings, faults := parse(t, minimal)
	if faults != nil || len(warnings) != 0 {
		t.Fatal(faults, warnings)
	}
	p := c.Policy()
	for name, ok := range map[string]bool{
		"enabled":                 p.Enabled,
		"enforced":                p.Mode == authz.Enforce,
		"credential removed":      !p.ForwardCredential,
		"non-ASCII refused":       p.NonASCII == authz.RefuseNonASCII,
		"encoded slash refused":   p.Paths.EncodedSlash == authz.RefuseAmbiguous,
		"parameters refused":      p.Paths.Parameters == authz.RefuseAmbiguous,
		"no certificate believed": p.Certificates == authz.NoCertificates,
		"DPoP not half on":        p.Prover == nil,
		"user header":             p.Headers.User == "x-forwarded-user",
		"grpc on loopback":        loopback(c.Listen.GRPC),
		"admin on loopback":       loopback(c.Listen.Admin),
		"no open admin":           c.Admin.Token.IsZero() && c.Admin.Admins == nil,
		"tokens end":              c.APITokens.MaxLifetime > 0 && !c.APITokens.AllowNever,
		"bounded":                 c.Cache.Entries > 0 && c.Cache.Bytes > 0 && c.Limits.InFlight > 0,
		"every decision recorded": c.Log.Audit.AllowSample == 1,
	} {
		if !ok {
			t.Errorf("not by default: %s", name)
		}
	}
}

func TestWarnings(t *testing.T) {
	for text, want := range map[string]string{
		"enabled: false":                        "g.yaml:2:10: enabled: protection is switched off",
		"mode: shadow":                          "mode: nothing is refused",
		"listen: {admin: '0.0.0.0:9192'}":       "listen.admin: listens beyond this machine",
		"admin: {token: hunter2hunter2hunter2}": "admin.token: the secret stands in the file in clear",
	} {
		_, warnings, faults := parse(t, minimal+text)
		if faults != nil || len(warnings) != 1 || !strings.Contains(warnings[0].String(), want) || strings.Contains(warnings[0].String(), "hunter2") {
			t.Errorf("%s: %v %v", text, warnings, faults)
		}
	}
}

func TestValues(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "s"), []byte("a-secret-of-some-length\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := Parse(filepath.Join(dir, "g.yaml"), []byte(`
api_tokens: {store: "sqlite:t.db", max_lifetime: 90d12h}
admin: {token: {file: s}}
rules:
  - match: {paths: /one, methods: GET, sources: [10.0.0.0/8, "::1"]}
    access: public
  - match: {hosts: ["*.example.com"], headers: {x-a: [b, c]}}
    mode: shadow
    allow: {groups: g, max_age: 5m}
protected_resource: {resource: "https://api.example.com/rest", authorization_servers: [https://sso.example.com]}
`), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if c.APITokens.MaxLifetime != 90*24*time.Hour+12*time.Hour || c.APITokens.Store != "sqlite:"+filepath.Join(dir, "t.db") {
		t.Errorf("%+v", c.APITokens)
	}
	if c.Admin.Token.Reveal() != "a-secret-of-some-length" {
		t.Error("secret from a file")
	}
	r := c.Rules
	if !reflect.DeepEqual(r[0].Match.Paths, []string{"/one"}) || r[0].Match.Sources[1].Bits() != 128 ||
		*r[1].Mode != authz.Shadow || r[1].Allow.MaxAge != 5*time.Minute || len(r[1].Match.Headers["x-a"]) != 2 {
		t.Errorf("%+v", r)
	}
	p := c.Policy()
	if p.ResourceMetadata != "https://api.example.com/.well-known/oauth-protected-resource/rest" ||
		!strings.Contains(string(p.Documents["/.well-known/oauth-protected-resource/rest"]), `"authorization_servers":["https://sso.example.com"]`) {
		t.Errorf("%s %s", p.ResourceMetadata, p.Documents)
	}
}

func TestSchemaIsPublished(t *testing.T) {
	if *update {
		if err := os.WriteFile("schema.json", Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	published, err := os.ReadFile("schema.json")
	if err != nil || !bytes.Equal(published, Schema()) {
		t.Errorf("schema.json is not what the code reads (%v); write it anew: go test ./internal/config -run Schema -update", err)
	}
}

// What has no description in the schema helps nobody.
func TestEveryKeyIsDescribed(t *testing.T) {
	var walk func(name string, s schema)
	walk = func(name string, s schema) {
		properties, _ := s["properties"].(schema)
		for key, v := range properties {
			p := v.(schema)
			if p["description"] == nil && key != "env" && key != "file" {
				t.Errorf("%s.%s has no description", name, key)
			}
			walk(name+"."+key, p)
			if items, ok := p["items"].(schema); ok {
				walk(name+"."+key+"[]", items)
			}
		}
	}
	walk("", schemaOf(reflect.TypeFor[Config]()))
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	file, secret := filepath.Join(dir, "g.yaml"), filepath.Join(dir, "secret")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(secret, "a-secret-of-some-length")
	write(file, minimal+"admin: {token: {file: secret}}\n")
	first, _, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	write(secret, "a-secret-that-changed-before-anybody-watched")
	synctest.Test(t, func(t *testing.T) {
		reloads := 0
		asked := make(chan os.Signal)
		go Watch(t.Context(), first, asked, func() (*Config, error) {
			reloads++
			c, _, err := Load(file)
			return c, err
		})
		after := func(what string, want int) {
			t.Helper()
			time.Sleep(interval + time.Millisecond) // the bubble's clock
			synctest.Wait()
			if reloads != want {
				t.Errorf("%s: %d reloads, want %d", what, reloads, want)
			}
		}
		after("changed since it was read", 1)
		after("nothing changed", 1)
		write(file, "half a fi")
		after("half-written", 2)
		after("still so", 2)
		write(file, minimal+"admin: {token: {file: secret}}\nrealm: x\n")
		after("mended", 3)
		write(secret, "another-secret-of-some-length")
		after("a named file", 4)
		late := filepath.Join(dir, "late")
		write(file, minimal+"admin: {token: {file: late}}\n")
		after("a named file that is not there", 5)
		after("still not there", 5)
		write(late, "a-secret-of-some-length")
		after("it has come", 6)
		write(late, "another-secret-of-some-length")
		after("and is followed", 7)
		other := filepath.Join(dir, "other.yaml")
		write(other, minimal)
		if os.Remove(file) != nil || os.Symlink(other, file) != nil {
			t.Fatal("symlink")
		}
		after("a switched link", 8)
		asked <- os.Interrupt
		synctest.Wait()
		if reloads != 8 {
			t.Errorf("asked for, and nothing changed: %d reloads", reloads)
		}
		write(other, minimal+"realm: y\n")
		asked <- os.Interrupt
		synctest.Wait()
		if reloads != 9 {
			t.Errorf("asked for: %d reloads, want 9 at once", reloads)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		minimal, minimal + "rules: [{match: {paths: [/a]}}]", "a: &b [*b]", "? [a]: b", "!!binary x: y", "<<: {a: b}",
		"providers: [{name: [a], type: oidc, issuer: 3, client_secret: {env: X}, audiences: {}, leeway: x, cache: 1}, {type: keycloak}, 4]\nrules: [{access: x, providers: [a], allow: 3, when: [}, {match: {paths: 3}}]\nb: 1",
		"listen: {grpc: 1, tls: {cert_file: /dev/null}}\nheaders: {user: x-api-key}\napi_tokens: {store: 3, header: [x]}\nadmin: {providers: [x], admins: [a], auditors: [a]}\nlog: {audit: {allow_sample: 9}}\ndpop: {origins: 1}\nprotected_resource: 3",
		"providers: [{name: a, type: entra, tenant_id: common}, {name: b, type: google, client_id: x}, {name: c, type: okta, domain: y}, {name: d, type: cognito, region: z}, {name: e, type: github}, {name: f, type: slack}, {name: g, type: gitlab}, {name: h, type: facebook}]\nx: 1",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, _, err := Parse("g.yaml", text, noEnv)
		var faults *Faults
		if (c == nil) != (err != nil) || err != nil && (!errors.As(err, &faults) || len(faults.List) == 0) {
			t.Fatalf("%v, %v", c, err)
		}
	})
}
