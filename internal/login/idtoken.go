package login

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// skew is how far the provider's clock may differ.
const skew = time.Minute

// checkIDToken holds the ID token of a sign-in against what was asked for:
// issuer, client, nonce and time (OpenID Connect Core 1.0 §3.1.3.7). It came
// straight from the token endpoint, so that TLS stands for its signature (item
// 6 there), and nothing of it is used further.
func checkIDToken(token, issuer, client, nonce string, now time.Time) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("the token endpoint answered without an ID token, although openid was asked for")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return fmt.Errorf("the ID token cannot be read: %w", err)
	}
	var claims struct {
		Issuer   string   `json:"iss"`
		Audience audience `json:"aud"`
		Party    string   `json:"azp"`
		Nonce    string   `json:"nonce"`
		Expires  float64  `json:"exp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return fmt.Errorf("the ID token cannot be read: %w", err)
	}
	switch {
	case claims.Nonce != nonce:
		return errors.New("the ID token is of another sign-in: its nonce is not ours")
	case issuer != "" && claims.Issuer != issuer:
		return fmt.Errorf("the ID token is of issuer %q, not of %q", claims.Issuer, issuer)
	case !slices.Contains(claims.Audience, client):
		return errors.New("the ID token is for another client")
	case claims.Party != "" && claims.Party != client:
		return errors.New("the ID token was issued to another client")
	case claims.Expires <= float64(now.Add(-skew).Unix()):
		return errors.New("the ID token has expired")
	}
	return nil
}

// audience is one string or a list of them (RFC 7519 §4.1.3).
type audience []string

// UnmarshalJSON reads either form.
func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}
