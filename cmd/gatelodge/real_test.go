package main

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// signInAsBrowser is a browser for scripts: it signs in as $SIGN_IN_AS with the
// password $SIGN_IN_PASSWORD on the page it is given.
func signInAsBrowser() {
	person := realtest.SignsInAs(os.Getenv("SIGN_IN_AS"), os.Getenv("SIGN_IN_PASSWORD"))
	if err := person.Visit(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestRealOIDCProvider runs testdata/oidc-provider/*.txtar against the real
// provider.
func TestRealOIDCProvider(t *testing.T) {
	op := realtest.OIDCProvider(t)
	runScripts(t, "testdata/oidc-provider", func(env *testscript.Env) error {
		env.Setenv("ISSUER", op.Issuer)
		return nil
	})
}

// TestRealKeycloak runs testdata/keycloak/*.txtar against the real Keycloak.
func TestRealKeycloak(t *testing.T) {
	realm := realtest.Keycloak(t).Realm(t)
	runScripts(t, "testdata/keycloak", func(env *testscript.Env) error {
		env.Setenv("KEYCLOAK", realm.Keycloak.URL)
		env.Setenv("REALM", realm.Name)
		env.Setenv("ISSUER", realm.Issuer())
		return nil
	})
}

// TestDemo runs testdata/demo/*.txtar with the real Envoy.
func TestDemo(t *testing.T) {
	envoy := realtest.EnvoyPath(t)
	runScripts(t, "testdata/demo", func(env *testscript.Env) error {
		env.Setenv("GATELODGE_ENVOY", envoy)
		return nil
	})
}
