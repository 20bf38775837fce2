package authz

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"
	"time"
)

// Binding is the key that a token was bound to when it was issued: whoever
// presents it must prove to hold that key (RFC 7800 §3, "cnf"). Each part that
// is given must be proven.
type Binding struct {
	// KeyThumbprint is cnf.jkt: the JWK SHA-256 thumbprint of the DPoP key,
	// base64url (RFC 9449 §6.1).
	KeyThumbprint string
	// CertificateHash is cnf["x5t#S256"]: SHA-256 of the DER client
	// certificate, base64url (RFC 8705 §3.1).
	CertificateHash string
}

// A Proof is what a DPoP proof is checked against.
type Proof struct {
	JWT        string // the DPoP header
	Token      Secret // the access token that the proof names in ath
	Thumbprint string // of the key that the token is bound to
	Method     string
	Host       string // authority of the request
	Path       string // as received, with query
	Now        time.Time
}

// A Prover checks DPoP proofs (RFC 9449 §4.3). It keeps the proofs that it has
// seen, so that none passes twice.
type Prover interface {
	// Prove returns nil for a good proof; every error refuses the request. A
	// *NonceWanted tells the caller what to try again with.
	Prove(p Proof) error
}

// NonceWanted is the error of a proof that is good but for a nonce of the
// server (RFC 9449 §9).
type NonceWanted struct{ Nonce string }

func (n *NonceWanted) Error() string { return "the proof has no nonce of ours, or an old one" }

// CertificateSource is where the client's certificate is learned from.
type CertificateSource uint8

// The sources of client certificates. Only the proxy's own word counts.
const (
	NoCertificates CertificateSource = iota
	// PeerCertificate is source.certificate of the check itself:
	// include_peer_certificate in the proxy's filter.
	PeerCertificate
	// ForwardedCertificate is the last element of x-forwarded-client-cert. It
	// is to be trusted only behind forward_client_cert_details: SANITIZE_SET.
	ForwardedCertificate
)

var certificateSources = [...]string{"none", "peer", "xfcc"}

// UnmarshalText reads "none", "peer" or "xfcc".
func (s *CertificateSource) UnmarshalText(text []byte) error {
	return readWord(s, certificateSources[:], text)
}

// MarshalText writes the word that UnmarshalText reads.
func (s CertificateSource) MarshalText() ([]byte, error) { return []byte(certificateSources[s]), nil }

// proven reports whether the request proves what the identity's token is bound
// to. A bound token without its proof is as good as stolen.
func (e *Engine) proven(ctx context.Context, q *Request, cred *Credential, d *Decision, now time.Time) (Reason, string) {
	b := d.Identity.Bound
	if b == nil || b.KeyThumbprint == "" {
		if cred.Kind == DPoP {
			return ReasonUnbound, "sent as DPoP, but the token is not bound to a key"
		}
		if b == nil {
			return NoReason, ""
		}
	}
	if b.KeyThumbprint != "" {
		if cred.Kind != DPoP {
			return ReasonUnbound, "bound to a DPoP key, but sent as a plain bearer token"
		}
		jwt, lines := q.Header("dpop")
		switch {
		case lines == 0:
			return ReasonUnbound, "bound to a DPoP key, and there is no proof"
		case lines > 1:
			return ReasonProof, "more than one DPoP proof"
		}
		TellSlow(ctx)
		err := e.policy.Prover.Prove(Proof{
			JWT: jwt, Token: cred.Secret, Thumbprint: b.KeyThumbprint,
			Method: q.Method, Host: q.Host, Path: q.Path, Now: now,
		})
		if wanted := (*NonceWanted)(nil); errors.As(err, &wanted) {
			d.ProofNonce = wanted.Nonce
			return ReasonProofNonce, err.Error()
		}
		if err != nil {
			return ReasonProof, err.Error()
		}
	}
	if b.CertificateHash != "" {
		hash := e.policy.Certificates.hash(q)
		if hash == "" {
			return ReasonUnbound, "bound to a client certificate, and none was presented"
		}
		if subtle.ConstantTimeCompare([]byte(hash), []byte(b.CertificateHash)) != 1 {
			return ReasonUnbound, "bound to another client certificate"
		}
	}
	return NoReason, ""
}

// hash returns the SHA-256 of the client's certificate as base64url, or "".
func (s CertificateSource) hash(q *Request) string {
	switch s {
	case PeerCertificate:
		text, err := url.PathUnescape(q.Certificate)
		if err != nil {
			return ""
		}
		block, rest := pem.Decode([]byte(text))
		if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
			return ""
		}
		sum := sha256.Sum256(block.Bytes)
		return base64.RawURLEncoding.EncodeToString(sum[:])
	case ForwardedCertificate:
		value, lines := q.Header("x-forwarded-client-cert")
		if lines != 1 {
			return ""
		}
		return forwardedHash(value)
	}
	return ""
}

// forwardedHash reads Hash of the last element of an x-forwarded-client-cert
// header: the one that our own proxy added. Quoted values may hold commas and
// semicolons. A header whose quotes do not close says nothing: an element of
// the caller's could have swallowed ours.
func forwardedHash(header string) string {
	elements, closed := splitOutsideQuotes(header, ',')
	if !closed {
		return ""
	}
	pairs, _ := splitOutsideQuotes(elements[len(elements)-1], ';')
	hash := ""
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		if strings.EqualFold(trimOWS(name), "hash") {
			if hash != "" {
				return "" // twice: whoever wrote that means no good
			}
			hash = trimOWS(value)
		}
	}
	sum, err := hex.DecodeString(hash)
	if err != nil || len(sum) != sha256.Size {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// splitOutsideQuotes reports too whether every quote is closed. Escaped quotes
// are none, wherever they stand: what is written as an even number of quotes
// stays one, whatever stands in front of it.
func splitOutsideQuotes(s string, separator byte) (parts []string, closed bool) {
	quoted, start := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == separator && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:]), !quoted
}
