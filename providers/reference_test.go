package providers

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// reference is a second opinion on ES256 tokens, by the RFCs and the standard
// library alone: it shares no line with what it is compared to. It returns the
// user of a token that may be taken.
type reference struct {
	issuer, audience string
	keyID            string
	key              *ecdsa.PublicKey
}

func (r *reference) user(token string, now time.Time) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > 64<<10 {
		return "", fmt.Errorf("%d parts, %d bytes", len(parts), len(token))
	}
	var raw [3][]byte
	for i, p := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.Strict().DecodeString(p); err != nil || strings.ContainsAny(p, "\r\n") || p == "" {
			return "", fmt.Errorf("part %d: %v", i, err)
		}
	}
	head, err := members(raw[0])
	if err != nil {
		return "", fmt.Errorf("header: %w", err)
	}
	if head["alg"] != "ES256" || head["kid"] != nil && head["kid"] != "" && head["kid"] != r.keyID {
		return "", fmt.Errorf("alg %v, kid %v", head["alg"], head["kid"])
	}
	for _, changes := range []string{"crit", "b64", "zip", "enc"} {
		if _, there := head[changes]; there {
			return "", fmt.Errorf("header has %s", changes)
		}
	}
	if typ, there := head["typ"]; there {
		s, _ := typ.(string)
		if s = strings.TrimPrefix(strings.ToLower(s), "application/"); s != "jwt" && s != "at+jwt" {
			return "", fmt.Errorf("typ %v", typ)
		}
	}
	if cty, there := head["cty"]; there {
		if s, ok := cty.(string); !ok || strings.EqualFold(strings.TrimPrefix(strings.ToLower(s), "application/"), "jwt") {
			return "", fmt.Errorf("cty %v", cty)
		}
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if len(raw[2]) != 64 || !ecdsa.Verify(r.key, digest[:], new(big.Int).SetBytes(raw[2][:32]), new(big.Int).SetBytes(raw[2][32:])) {
		return "", fmt.Errorf("signature")
	}
	return r.judge(raw[1], float64(now.UnixMilli())/1000)
}

func (r *reference) judge(payload []byte, now float64) (string, error) {
	claims, err := members(payload)
	if err != nil {
		return "", fmt.Errorf("claims: %w", err)
	}
	if claims["iss"] != r.issuer {
		return "", fmt.Errorf("iss %v", claims["iss"])
	}
	meant := claims["aud"] == r.audience
	if list, ok := claims["aud"].([]any); ok {
		for _, a := range list {
			meant = meant || a == r.audience
		}
	}
	if !meant {
		return "", fmt.Errorf("aud %v", claims["aud"])
	}
	const leeway = 61 // the most, and the fraction of a second between two looks
	for name, holds := range map[string]func(at float64) bool{
		"exp": func(at float64) bool { return now < at+leeway },
		"nbf": func(at float64) bool { return now > at-leeway },
		"iat": func(at float64) bool { return now > at-leeway },
	} {
		v, there := claims[name]
		if !there && name != "exp" {
			continue
		}
		if at, ok := v.(float64); !ok || at < 0 || at > 253402300799 || !holds(at) {
			return "", fmt.Errorf("%s %v", name, v)
		}
	}
	if bound := claims["cnf"]; bound != nil {
		return "", fmt.Errorf("bound to a key")
	}
	for _, name := range []string{"preferred_username", "username", "upn", "sub"} {
		if v := claims[name]; v != nil && v != "" {
			if user, ok := v.(string); ok {
				return user, nil
			}
			return "", fmt.Errorf("%s %v", name, v)
		}
	}
	return "", fmt.Errorf("no user")
}

// members reads one JSON object whose members all have names of their own.
func members(text []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, fmt.Errorf("no object: %v %v", first, err)
	}
	out := map[string]any{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var v any
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		if _, twice := out[name.(string)]; twice {
			return nil, fmt.Errorf("%q twice", name)
		}
		out[name.(string)] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if rest := bytes.TrimSpace(text[d.InputOffset():]); len(rest) > 0 {
		return nil, fmt.Errorf("more text: %q", rest)
	}
	return out, nil
}

// changer makes tokens that are nearly good. Most are signed with the issuer's
// own key after they were changed: what is under the signature is what can hurt.
type changer struct {
	*rand.Rand
	key    providertest.Key
	issuer *providertest.Issuer
}

// values are what a member may be changed to, as JSON.
var values = []string{
	`null`, `true`, `0`, `1`, `-1`, `1e3`, `1e400`, `"1"`, `""`, `"api"`, `"API"`, `["api"]`, `["x","api"]`, `[["api"]]`, `{}`, `[]`, `"alice"`, `"admin"`,
	`"alice\u0000"`, `"\ud800"`, `" alice"`, `253402300799`, `253402300800`, `99999999999.5`, `"ES256"`, `"none"`, `"JWT"`, `"at+jwt"`, `"ec-1"`, `["exp"]`,
}

var names = []string{
	"iss", "aud", "exp", "nbf", "iat", "sub", "preferred_username", "username", "upn", "cnf", "alg", "kid", "typ", "crit", "b64", "cty", "zip", "jwk", "x5c",
	"SUB", "Aud", "\u017fub", "EXP", "i\\u0073s", "x",
}

func pick(c *changer, from []string) string { return from[c.IntN(len(from))] }

// object changes the text of a JSON object.
func (c *changer) object(text string) string {
	switch c.IntN(7) {
	case 0: // a byte
		at := c.IntN(len(text))
		return text[:at] + string([]byte{byte(c.IntN(256))}) + text[at+1:]
	case 1: // a byte more or less
		at := c.IntN(len(text))
		return text[:at] + pick(c, []string{"", " ", "\n", `\`, `"`, "\x00", "}", ",", "é"}) + text[at+c.IntN(2):]
	case 2: // a member in front
		return `{"` + pick(c, names) + `":` + pick(c, values) + "," + text[1:]
	case 3: // a member behind
		return text[:len(text)-1] + `,"` + pick(c, names) + `":` + pick(c, values) + "}"
	case 4: // a value exchanged
		var m map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &m) == nil {
			m[pick(c, names)] = json.RawMessage(pick(c, values))
			if b, err := json.Marshal(m); err == nil {
				return string(b)
			}
		}
	case 5: // a member gone
		var m map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &m) == nil {
			delete(m, pick(c, names))
			return string(mustJSON(m))
		}
	}
	return text
}

func (c *changer) token() string {
	head := `{"alg":"ES256","kid":"ec-1","typ":"at+jwt"}`
	claims := string(mustJSON(c.issuer.Claims("alice", nil)))
	for range c.IntN(3) {
		claims = c.object(claims)
	}
	if c.IntN(3) == 0 {
		head = c.object(head)
	}
	token := c.key.SignRaw([]byte(head), []byte(claims), "ES256")
	if c.IntN(4) == 0 { // and something of what is outside the signature
		at := c.IntN(len(token))
		token = token[:at] + pick(c, []string{"", ".", "=", "A", "\n", "_", "-", "+", " "}) + token[at+c.IntN(2):]
	}
	return token
}

// Of tokens that are nearly good, none is taken that a second reader, written
// by itself, refuses; and who both take is the same user to both.
func TestSecondOpinion(t *testing.T) {
	i := providertest.NewIssuer(t)
	p := newOIDC(t, i, nil)
	key := i.Key("ec-1")
	r := &reference{issuer: i.URL, audience: "api", keyID: "ec-1", key: key.Private.Public().(*ecdsa.PublicKey)}
	seed := rand.Uint64()
	c := &changer{rand.New(rand.NewPCG(seed, 1)), key, i}
	taken, stricter := 0, 0
	cases := realtest.Scale(20_000, 1_000_000)
	for range cases {
		token := c.token()
		id, err := p.Verify(t.Context(), bearer(token))
		user, refused := r.user(token, time.Now())
		switch {
		case err == nil && (refused != nil || user != id.User):
			t.Fatalf("seed %d: taken as %q, the second reader says %q, %v:\n%s", seed, id.User, user, refused, token)
		case err == nil:
			taken++
		case refused == nil:
			stricter++
		}
	}
	if taken < cases/20 {
		t.Errorf("only %d of %d are taken: the changes are too wild to find anything", taken, cases)
	}
	realtest.Measured(t, "%d tokens that are nearly good: both take %d, we alone refuse %d, we alone take 0", cases, taken, stricter)
}
