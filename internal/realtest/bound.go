package realtest

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A Prove makes the proof of possession for a request (RFC 9449 §4.2), by
// whoever holds the key that a token is to be bound to.
type Prove func(method, url string) string

// TokenByProof returns an access token of a client itself, bound to the key
// of a proof.
func (op *OIDC) TokenByProof(t testing.TB, client, resource string, prove Prove) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {resource}}
	return tokenByProof(t, op.Client, op.Issuer+"/token", client, client+"-secret", form, prove)
}

// TokenByCertificate returns an access token of a client that shows a
// certificate, and is bound to that (RFC 8705).
func (op *OIDC) TokenByCertificate(t testing.TB, client, resource string, certificate tls.Certificate) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {resource}}
	return tokenByCertificate(t, op.Issuer+"/token", client, "", form, certificate)
}

// TokenByCertificate returns an access token of a confidential client itself,
// which shows a certificate at the https address of its Keycloak.
func (r *Realm) TokenByCertificate(t testing.TB, client string, certificate tls.Certificate) string {
	t.Helper()
	endpoint := r.Keycloak.Secure + "/realms/" + r.Name + "/protocol/openid-connect/token"
	return tokenByCertificate(t, endpoint, client, client+"-secret", url.Values{"grant_type": {"client_credentials"}}, certificate)
}

func tokenByCertificate(t testing.TB, endpoint, client, secret string, form url.Values, certificate tls.Certificate) string {
	t.Helper()
	shows := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, // our own, on loopback
		Certificates:       []tls.Certificate{certificate},
	}}}
	defer shows.CloseIdleConnections()
	return tokenFrom(t, shows, endpoint, client, secret, form)
}

// UserTokenByProof returns an access token of a user (password: name + "-pw"),
// issued to a public client and bound to the key of a proof.
func (r *Realm) UserTokenByProof(t testing.TB, client, user string, prove Prove) string {
	t.Helper()
	form := url.Values{"grant_type": {"password"}, "username": {user}, "password": {user + "-pw"}, "scope": {"openid"}}
	return tokenByProof(t, http.DefaultClient, r.endpoint("token"), client, "", form, prove)
}

func tokenByProof(t testing.TB, c *http.Client, endpoint, client, secret string, form url.Values, prove Prove) string {
	t.Helper()
	if secret == "" {
		form.Set("client_id", client)
	}
	req, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("DPoP", prove(http.MethodPost, endpoint))
	if secret != "" {
		req.SetBasicAuth(client, secret)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return accessToken(t, resp)
}
