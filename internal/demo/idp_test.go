package demo

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func startIdP(t *testing.T) *IdP {
	t.Helper()
	p, err := NewIdP()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Up(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Down(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// claimsOf checks a token against the published key and returns its claims.
func claimsOf(t *testing.T, p *IdP, token string) (claims map[string]any, genuine bool) {
	t.Helper()
	var set struct {
		Keys []struct{ Kid, N, E string }
	}
	fetchJSON(t, p.Issuer()+"/jwks", &set)
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(set.Keys) != 1 {
		t.Fatalf("%d parts, %d keys", len(parts), len(set.Keys))
	}
	key := &rsa.PublicKey{
		N: new(big.Int).SetBytes(decode(t, set.Keys[0].N)),
		E: int(new(big.Int).SetBytes(decode(t, set.Keys[0].E)).Int64()),
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	genuine = rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], decode(t, parts[2])) == nil
	if err := json.Unmarshal(decode(t, parts[1]), &claims); err != nil {
		t.Fatal(err)
	}
	return claims, genuine
}

func decode(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func fetchJSON(t *testing.T, url string, into any) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d", url, res.StatusCode)
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

func TestAccessTokenFlaws(t *testing.T) {
	p := startIdP(t)
	for _, tc := range []struct {
		flaw             Flaw
		genuine, expired bool
		audience         string
	}{
		{Sound, true, false, Audience},
		{Expired, true, true, Audience},
		{WrongAudience, true, false, "api://payroll"},
		{Forged, false, false, Audience},
	} {
		t.Run(string(tc.flaw), func(t *testing.T) {
			token, err := p.AccessToken(Users[0], tc.flaw)
			if err != nil {
				t.Fatal(err)
			}
			claims, genuine := claimsOf(t, p, token)
			expired := time.Now().After(time.Unix(int64(claims["exp"].(float64)), 0))
			if genuine != tc.genuine || expired != tc.expired || claims["aud"] != tc.audience {
				t.Errorf("genuine %t expired %t aud %v, want %+v", genuine, expired, claims["aud"], tc)
			}
			if claims["iss"] != p.Issuer() || claims["preferred_username"] != "alice" {
				t.Errorf("claims %v", claims)
			}
		})
	}
	if _, err := p.AccessToken(Users[0], "haunted"); err == nil {
		t.Error("an unknown flaw was minted")
	}
}

func TestHandOut(t *testing.T) {
	p := startIdP(t)
	for query, want := range map[string]int{
		"user=alice":              http.StatusOK,
		"user=alice&flaw=expired": http.StatusOK,
		"user=mallory":            http.StatusNotFound,
		"user=alice&flaw=haunted": http.StatusBadRequest,
	} {
		res, err := http.Get(p.Issuer() + "/demo/token?" + query)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want || (want == http.StatusOK) != (strings.Count(string(body), ".") == 2) {
			t.Errorf("%s: status %d, body of %d bytes", query, res.StatusCode, len(body))
		}
	}
}

// post sends a form to the provider and returns status and answer.
func post(t *testing.T, address string, form url.Values) (int, map[string]any) {
	t.Helper()
	res, err := http.PostForm(address, form)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer
}

func TestClientCredentials(t *testing.T) {
	p := startIdP(t)
	form := url.Values{"grant_type": {grantClient}, "client_id": {Client}, "client_secret": {p.Secret()}}
	status, answer := post(t, p.Issuer()+"/token", form)
	if status != http.StatusOK {
		t.Fatalf("status %d: %v", status, answer)
	}
	claims, genuine := claimsOf(t, p, answer["access_token"].(string))
	if !genuine || claims["sub"] != Client || claims["preferred_username"] != nil {
		t.Errorf("genuine %t, claims %v", genuine, claims)
	}
	for _, secret := range []string{"", "wrong"} {
		form.Set("client_secret", secret)
		if status, answer := post(t, p.Issuer()+"/token", form); status != http.StatusUnauthorized || answer["error"] != "invalid_client" {
			t.Errorf("secret %q: status %d, %v", secret, status, answer)
		}
	}
}

// authorizeQuery begins a sign-in whose verifier is "verifier".
func authorizeQuery() url.Values {
	challenge := sha256.Sum256([]byte("verifier"))
	return url.Values{
		"response_type": {"code"}, "client_id": {Client}, "redirect_uri": {"http://127.0.0.1:1/back"},
		"state": {"s1"}, "nonce": {"n1"}, "login_hint": {"bob"},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}
}

// askForCode returns what the browser would be sent back with.
func askForCode(t *testing.T, p *IdP, q url.Values) (int, url.Values) {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Get(p.Issuer() + "/authorize?" + q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	to, err := url.Parse(res.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, to.Query()
}

func TestAuthorizationCode(t *testing.T) {
	p := startIdP(t)
	_, back := askForCode(t, p, authorizeQuery())
	if back.Get("state") != "s1" || back.Get("iss") != p.Issuer() {
		t.Fatalf("sent back with %v", back)
	}
	form := url.Values{
		"grant_type": {grantCode}, "client_id": {Client}, "code": {back.Get("code")},
		"redirect_uri": {"http://127.0.0.1:1/back"}, "code_verifier": {"verifier"},
	}
	status, answer := post(t, p.Issuer()+"/token", form)
	if status != http.StatusOK {
		t.Fatalf("status %d: %v", status, answer)
	}
	if claims, _ := claimsOf(t, p, answer["access_token"].(string)); claims["preferred_username"] != "bob" {
		t.Errorf("access token %v", claims)
	}
	if claims, _ := claimsOf(t, p, answer["id_token"].(string)); claims["nonce"] != "n1" || claims["aud"] != Client {
		t.Errorf("ID token %v", claims)
	}
	if status, answer := post(t, p.Issuer()+"/token", form); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("the code worked twice: %d %v", status, answer)
	}
}

func TestAuthorizationCodeRefusals(t *testing.T) {
	p := startIdP(t)
	_, back := askForCode(t, p, authorizeQuery())
	form := url.Values{
		"grant_type": {grantCode}, "client_id": {Client}, "code": {back.Get("code")},
		"redirect_uri": {"http://127.0.0.1:1/back"}, "code_verifier": {"guess"},
	}
	if status, answer := post(t, p.Issuer()+"/token", form); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("wrong verifier: %d %v", status, answer)
	}
	for name, tc := range map[string]struct {
		key, value string
		status     int
		err        string
	}{
		"foreign redirect": {"redirect_uri", "https://evil.example/", http.StatusBadRequest, ""},
		"userinfo":         {"redirect_uri", "http://x@127.0.0.1/", http.StatusBadRequest, ""},
		"foreign client":   {"client_id", "other", http.StatusBadRequest, ""},
		"plain PKCE":       {"code_challenge_method", "plain", http.StatusFound, "invalid_request"},
		"no PKCE":          {"code_challenge", "", http.StatusFound, "invalid_request"},
		"implicit":         {"response_type", "token", http.StatusFound, "unsupported_response_type"},
		"nobody yet":       {"login_hint", "", http.StatusOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			q := authorizeQuery()
			q.Set(tc.key, tc.value)
			status, back := askForCode(t, p, q)
			if status != tc.status || back.Get("error") != tc.err || back.Get("code") != "" {
				t.Errorf("status %d, back with %v", status, back)
			}
		})
	}
}

func TestDeviceCode(t *testing.T) {
	p := startIdP(t)
	_, begun := post(t, p.Issuer()+"/device_authorization", url.Values{"client_id": {Client}})
	form := url.Values{"grant_type": {grantDevice}, "client_id": {Client}, "device_code": {begun["device_code"].(string)}}
	if _, answer := post(t, p.Issuer()+"/token", form); answer["error"] != "authorization_pending" {
		t.Fatalf("before approval: %v", answer)
	}
	approve := func(code string) int {
		res, err := http.PostForm(p.Issuer()+"/device", url.Values{"user": {"alice"}, "user_code": {code}})
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	if status := approve("WRONG"); status != http.StatusNotFound {
		t.Errorf("wrong code: status %d", status)
	}
	if status := approve(begun["user_code"].(string)); status != http.StatusOK {
		t.Fatalf("right code: status %d", status)
	}
	_, answer := post(t, p.Issuer()+"/token", form)
	if claims, genuine := claimsOf(t, p, answer["access_token"].(string)); !genuine || claims["preferred_username"] != "alice" {
		t.Errorf("genuine %t, claims %v", genuine, claims)
	}
	if _, answer := post(t, p.Issuer()+"/token", form); answer["error"] != "invalid_grant" {
		t.Errorf("the device code worked twice: %v", answer)
	}
}

func TestDownAndUpAgain(t *testing.T) {
	p := startIdP(t)
	issuer := p.Issuer()
	if err := p.Down(); err != nil {
		t.Fatal(err)
	}
	if _, err := http.Get(issuer + "/jwks"); err == nil {
		t.Fatal("it answers while down")
	}
	if err := p.Up(); err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	fetchJSON(t, issuer+"/jwks", &keys)
	if p.Issuer() != issuer {
		t.Errorf("came back as %s, was %s", p.Issuer(), issuer)
	}
}
