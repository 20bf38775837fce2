package serve

import (
	"fmt"
	"testing"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// TestWrongSecretAtRealProviders: what the recorded answers say, the real ones do.
func TestWrongSecretAtRealProviders(t *testing.T) {
	op := realtest.OIDCProvider(t)
	realm := realtest.Keycloak(t).Realm(t)
	l := start(t, fmt.Sprintf(`
listen: {grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
limits: {drain_delay: 1ms}
providers:
  - {name: op, type: oidc, issuer: %q, validation: introspection, client_id: rs-json, client_secret: not-it}
  - {name: sso, type: keycloak, issuer: %q, validation: introspection, client_id: svc, client_secret: not-it}
rules:
  - {match: {paths: [/alone/op]}, providers: [op]}
  - {match: {paths: [/alone/sso]}, providers: [sso]}
  - {access: deny}
`, op.Issuer, realm.Issuer()))
	l.saysMisconfigured(t, "op", op.ClientToken(t, "svc", "urn:api:opaque", "api:read"))
	l.saysMisconfigured(t, "sso", realm.ClientToken(t, "svc"))
}
