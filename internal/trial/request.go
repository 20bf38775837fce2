package trial

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/gatelodge/gatelodge/authz"
)

// A Way is how a credential is brought along.
type Way struct {
	Kind      authz.Kind
	KeyHeader string // lower-case name of the header of an authz.APIKey
}

// ParseKind reads the words of the command line: bearer, basic, key.
func ParseKind(word string) (authz.Kind, error) {
	for _, k := range []authz.Kind{authz.Bearer, authz.Basic, authz.APIKey} {
		if k.String() == word {
			return k, nil
		}
	}
	return authz.NoCredential, fmt.Errorf("%q is none of bearer, basic, key", word)
}

// Request is what a caller would send, without the credential.
type Request struct {
	Method, Host, Path string
	Headers            []authz.Header // names in lower case
	Source             netip.Addr     // zero: not known
}

// With returns the request that brings a credential: a token or a key as it
// is, or "user:password" for authz.Basic.
func (r Request) With(w Way, secret authz.Secret) (authz.Request, error) {
	q := r.bare()
	text := secret.Reveal()
	switch w.Kind {
	case authz.Bearer:
		q.Headers = append(q.Headers, authz.Header{Name: "authorization", Value: "Bearer " + text})
	case authz.Basic:
		if !strings.Contains(text, ":") {
			return q, errors.New("a basic credential is user:password")
		}
		encoded := base64.StdEncoding.EncodeToString([]byte(text))
		q.Headers = append(q.Headers, authz.Header{Name: "authorization", Value: "Basic " + encoded})
	case authz.APIKey:
		if w.KeyHeader == "" {
			return q, errors.New("the configuration names no header for keys: set api_tokens.header")
		}
		q.Headers = append(q.Headers, authz.Header{Name: w.KeyHeader, Value: text})
	default:
		return q, fmt.Errorf("a credential of kind %s cannot be tried", w.Kind)
	}
	return q, nil
}

// bare returns the request without a credential.
func (r Request) bare() authz.Request {
	return authz.Request{
		Method: r.Method, Host: r.Host, Path: r.Path, Scheme: "https",
		Headers: append([]authz.Header(nil), r.Headers...), Source: r.Source,
	}
}

// Credential returns a credential as its provider is shown it.
func Credential(kind authz.Kind, secret authz.Secret) (authz.Credential, error) {
	if kind != authz.Basic {
		return authz.Credential{Kind: kind, Secret: secret}, nil
	}
	user, password, ok := strings.Cut(secret.Reveal(), ":")
	if !ok {
		return authz.Credential{}, errors.New("a basic credential is user:password")
	}
	return authz.Credential{Kind: kind, User: user, Secret: authz.NewSecret(password)}, nil
}
