package authz

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"
	"testing"
)

// oneProof takes the proof "good" for key "k" and nothing else.
type oneProof struct{ seen []Proof }

func (o *oneProof) Prove(p Proof) error {
	o.seen = append(o.seen, p)
	if p.JWT == "stale" {
		return &NonceWanted{"n-1"}
	}
	if p.JWT != "good" || p.Thumbprint != "k" {
		return errors.New("bad proof")
	}
	return nil
}

func TestBoundTokens(t *testing.T) {
	der := []byte("a certificate")
	sum := sha256.Sum256(der)
	hash, hexHash := base64.RawURLEncoding.EncodeToString(sum[:]), hex.EncodeToString(sum[:])
	peer := url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	other := url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("other")})))

	a := bookOf("a-", "free")
	a.known["a-key"] = Identity{User: "key", Bound: &Binding{KeyThumbprint: "k"}}
	a.known["a-cert"] = Identity{User: "cert", Bound: &Binding{CertificateHash: hash}}
	a.known["a-both"] = Identity{User: "both", Bound: &Binding{KeyThumbprint: "k", CertificateHash: hash}}
	for _, c := range []struct {
		name        string
		headers     []string
		certificate string
		source      CertificateSource
		want        Reason
	}{
		{"unbound", []string{"authorization: Bearer a-free"}, "", NoCertificates, ReasonVerified},
		{"unbound sent as dpop", []string{"authorization: DPoP a-free", "dpop: good"}, "", NoCertificates, ReasonUnbound},
		{"dpop", []string{"authorization: DPoP a-key", "dpop: good"}, "", NoCertificates, ReasonVerified},
		{"dpop sent as bearer", []string{"authorization: Bearer a-key", "dpop: good"}, "", NoCertificates, ReasonUnbound},
		{"dpop without proof", []string{"authorization: DPoP a-key"}, "", NoCertificates, ReasonUnbound},
		{"dpop two proofs", []string{"authorization: DPoP a-key", "dpop: good", "dpop: good"}, "", NoCertificates, ReasonProof},
		{"dpop bad proof", []string{"authorization: DPoP a-key", "dpop: bad"}, "", NoCertificates, ReasonProof},
		{"dpop without a nonce", []string{"authorization: DPoP a-key", "dpop: stale"}, "", NoCertificates, ReasonProofNonce},
		{"cert", []string{"authorization: Bearer a-cert"}, peer, PeerCertificate, ReasonVerified},
		{"cert, other", []string{"authorization: Bearer a-cert"}, other, PeerCertificate, ReasonUnbound},
		{"cert, none", []string{"authorization: Bearer a-cert"}, "", PeerCertificate, ReasonUnbound},
		{"cert, two", []string{"authorization: Bearer a-cert"}, peer + peer, PeerCertificate, ReasonUnbound},
		{"cert, not looked for", []string{"authorization: Bearer a-cert"}, peer, NoCertificates, ReasonUnbound},
		{"xfcc", []string{"authorization: Bearer a-cert", "x-forwarded-client-cert: Hash=" + hexHash + ";Subject=\"CN=a,O=b\""}, "", ForwardedCertificate, ReasonVerified},
		{"xfcc last counts", []string{"authorization: Bearer a-cert", "x-forwarded-client-cert: Hash=" + hexHash + ",Hash=00"}, "", ForwardedCertificate, ReasonUnbound},
		{"xfcc last is ours", []string{"authorization: Bearer a-cert", "x-forwarded-client-cert: Hash=00,By=x;Hash=" + hexHash}, "", ForwardedCertificate, ReasonVerified},
		{"xfcc quoted", []string{"authorization: Bearer a-cert", "x-forwarded-client-cert: Subject=\",Hash=" + hexHash + "\""}, "", ForwardedCertificate, ReasonUnbound},
		{"xfcc with an open quote", []string{"authorization: Bearer a-cert", "x-forwarded-client-cert: Hash=" + hexHash + ";Subject=\",Hash=00"}, "", ForwardedCertificate, ReasonUnbound},
		{"xfcc with an open quote that ours closes", []string{"authorization: Bearer a-cert", "x-forwarded-client-cert: Hash=" + hexHash + ";Subject=\",Hash=00;Subject=\"CN=x\""}, "", ForwardedCertificate, ReasonUnbound},
		{"xfcc with an open quote and escaped ones", []string{"authorization: Bearer a-cert", "x-forwarded-client-cert: Hash=" + hexHash + ";Subject=\",Hash=00;Subject=\"CN=\\\"x\\\"\""}, "", ForwardedCertificate, ReasonUnbound},
		{"xfcc with a backslash before ours", []string{"authorization: Bearer a-cert", "x-forwarded-client-cert: Hash=" + hexHash + ";X=\\,Hash=00"}, "", ForwardedCertificate, ReasonUnbound},
		{"xfcc escaped subject", []string{"authorization: Bearer a-cert", "x-forwarded-client-cert: Hash=" + hexHash + ";Subject=\"CN=\\\",Hash=00,O=\\\\\""}, "", ForwardedCertificate, ReasonVerified},
		{"xfcc hash twice", []string{"authorization: Bearer a-cert", "x-forwarded-client-cert: Hash=" + hexHash + ";Hash=" + hexHash}, "", ForwardedCertificate, ReasonUnbound},
		{"xfcc forged, peer counts", []string{"authorization: Bearer a-cert", "x-forwarded-client-cert: Hash=" + hexHash}, "", PeerCertificate, ReasonUnbound},
		{"both", []string{"authorization: DPoP a-both", "dpop: good"}, peer, PeerCertificate, ReasonVerified},
		{"both, cert only", []string{"authorization: Bearer a-both"}, peer, PeerCertificate, ReasonUnbound},
		{"both, key only", []string{"authorization: DPoP a-both", "dpop: good"}, "", PeerCertificate, ReasonUnbound},
	} {
		e := newEngine(t, Policy{
			Providers: []NamedProvider{{Name: "a", Provider: a}}, Prover: &oneProof{}, Certificates: c.source,
		})
		q := get("/x", c.headers...)
		q.Certificate = c.certificate
		for _, temperature := range []string{"cold", "hot"} {
			d := e.Decide(t.Context(), q)
			if d.Reason != c.want || (d.Outcome == Allowed) != (c.want == ReasonVerified) {
				t.Errorf("%s, %s: %v/%v (%s)", c.name, temperature, d.Outcome, d.Reason, d.Detail)
			}
			if (d.ProofNonce == "n-1") != (c.want == ReasonProofNonce) {
				t.Errorf("%s, %s: nonce %q", c.name, temperature, d.ProofNonce)
			}
		}
	}

	// Without a prover the scheme is not taken, and bound tokens are refused.
	e := newEngine(t, Policy{Providers: []NamedProvider{{Name: "a", Provider: a}}})
	if d := e.Decide(t.Context(), get("/x", "authorization: DPoP a-key", "dpop: good")); d.Reason != ReasonUnsupportedScheme {
		t.Errorf("DPoP without a prover: %v", d.Reason)
	}
	if d := e.Decide(t.Context(), get("/x", "authorization: Bearer a-key")); d.Reason != ReasonUnbound {
		t.Errorf("bound token without a prover: %v", d.Reason)
	}
}

// TestNothingInFrontCounts puts every short text of the characters that matter
// in front of the element that our own proxy adds: what counts is that element,
// or nothing.
func TestNothingInFrontCounts(t *testing.T) {
	forged, ours := strings.Repeat("f0", sha256.Size), strings.Repeat("0a", sha256.Size)
	want := forwardedHash("Hash=" + ours)
	parts := []string{`"`, `\`, `,`, `;`, `Hash=` + forged, `hash="`, `Subject="CN=`, ` `}
	elements := []string{
		`Hash=` + ours,
		`Hash=` + ours + `;Subject="CN=x,O=y"`,
		`By=spiffe://a/b;Hash=` + ours + `;Subject="CN=\"x\",O=a\\";URI=spiffe://c/d`,
		`Hash=` + ours + `;Cert="-----BEGIN%20";Chain="-----BEGIN%20";Subject="";DNS=a;DNS=b`,
	}
	counted, refused := 0, 0
	var prefixes func(prefix string, more int)
	prefixes = func(prefix string, more int) {
		for _, e := range elements {
			switch forwardedHash(prefix + "," + e) {
			case want:
				counted++
			case "":
				refused++
			default:
				t.Fatalf("%q counts for another certificate", prefix+","+e)
			}
		}
		if more == 0 {
			return
		}
		for _, p := range parts {
			prefixes(prefix+p, more-1)
		}
	}
	prefixes("", 5)
	if counted == 0 || refused == 0 {
		t.Errorf("%d counted, %d were refused", counted, refused)
	}
}
