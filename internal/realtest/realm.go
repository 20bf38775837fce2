package realtest

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// RealmAudience is the audience of the access tokens that a Realm issues to
// its clients; those of the client foreign have another.
const RealmAudience = "https://api.example.test"

// A Realm is one realm of a Keycloak.
type Realm struct {
	Name     string
	Keycloak *KeycloakServer
}

// Realm makes a new realm with
//
//	users    alice in group eng with role reader, bob in none; password: name + "-pw"
//	web      public client: password grant, code on any loopback port, device code
//	svc      confidential client with a service account; may introspect
//	light    the same with lightweight access tokens
//	dpop     public client whose tokens are bound to a DPoP key
//	mtls     confidential client whose tokens are bound to its certificate
//	foreign  public client whose tokens are for another API
//
// The secret of a confidential client is its id with "-secret" added.
func (k *KeycloakServer) Realm(t testing.TB) *Realm {
	t.Helper()
	name := "lab-" + strings.ToLower(rand.Text()[:8])
	k.Admin(t, http.MethodPost, "/realms", realmSettings(name), nil)
	return &Realm{Name: name, Keycloak: k}
}

// ImportRealm makes the realm that a realm file describes.
func (k *KeycloakServer) ImportRealm(t testing.TB, file []byte) *Realm {
	t.Helper()
	var settings struct{ Realm string }
	if err := json.Unmarshal(file, &settings); err != nil {
		t.Fatal(err)
	}
	k.Admin(t, http.MethodPost, "/realms", json.RawMessage(file), nil)
	return &Realm{Name: settings.Realm, Keycloak: k}
}

type object = map[string]any

func realmSettings(name string) object {
	user := func(name string, more object) object {
		u := object{
			"username": name, "enabled": true, "email": name + "@example.test", "emailVerified": true,
			"firstName": name, "lastName": "Doe",
			"credentials": []object{{"type": "password", "value": name + "-pw", "temporary": false}},
		}
		maps.Copy(u, more)
		return u
	}
	public := object{"publicClient": true, "directAccessGrantsEnabled": true, "redirectUris": []string{"http://127.0.0.1:*"}}
	service := object{"serviceAccountsEnabled": true, "standardFlowEnabled": false}
	return object{
		"realm": name, "enabled": true, "sslRequired": "none", "accessTokenLifespan": 600,
		"roles":  object{"realm": []object{{"name": "reader"}}},
		"groups": []object{{"name": "eng"}},
		"users": []object{
			user("alice", object{"groups": []string{"/eng"}, "realmRoles": []string{"reader", "default-roles-" + name}}),
			user("bob", nil),
		},
		"clients": []object{
			realmClient("web", RealmAudience, public, object{"oauth2.device.authorization.grant.enabled": "true"}),
			realmClient("svc", RealmAudience, service, nil),
			realmClient("light", RealmAudience, service, object{"client.use.lightweight.access.token.enabled": "true"}),
			realmClient("dpop", RealmAudience, public, object{"dpop.bound.access.tokens": "true"}),
			realmClient("mtls", RealmAudience, service, object{"tls.client.certificate.bound.access.tokens": "true"}),
			realmClient("foreign", "https://other.example.test", public, nil),
		},
	}
}

func realmClient(id, audience string, more, attributes object) object {
	mapper := func(name, kind string, config object) object {
		config["access.token.claim"], config["introspection.token.claim"] = "true", "true"
		return object{"name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": config}
	}
	c := object{
		"clientId": id, "enabled": true, "protocol": "openid-connect", "secret": id + "-secret", "attributes": attributes,
		"protocolMappers": []object{
			mapper("audience", "oidc-audience-mapper", object{"included.custom.audience": audience}),
			// Introspection answers a client only about tokens that name it.
			mapper("introspecting client", "oidc-audience-mapper", object{"included.client.audience": "svc", "lightweight.claim": "true"}),
			mapper("groups", "oidc-group-membership-mapper", object{"claim.name": "groups", "full.path": "false"}),
		},
	}
	maps.Copy(c, more)
	return c
}

// Issuer returns the realm's issuer URL.
func (r *Realm) Issuer() string { return r.Keycloak.URL + "/realms/" + r.Name }

func (r *Realm) endpoint(name string) string { return r.Issuer() + "/protocol/openid-connect/" + name }

// UserToken returns an access token of a user (password: name + "-pw"), issued
// to a public client.
func (r *Realm) UserToken(t testing.TB, client, user string) string {
	t.Helper()
	return tokenFrom(t, http.DefaultClient, r.endpoint("token"), client, "", url.Values{
		"grant_type": {"password"}, "username": {user}, "password": {user + "-pw"}, "scope": {"openid"},
	})
}

// ClientToken returns an access token of a confidential client itself.
func (r *Realm) ClientToken(t testing.TB, client string) string {
	t.Helper()
	return tokenFrom(t, http.DefaultClient, r.endpoint("token"), client, client+"-secret",
		url.Values{"grant_type": {"client_credentials"}})
}

// SetTokenLife sets how long the access tokens issued from now on live.
func (r *Realm) SetTokenLife(t testing.TB, life time.Duration) {
	t.Helper()
	r.Admin(t, http.MethodPut, "", object{"accessTokenLifespan": int(life.Seconds())}, nil)
}

// RotateKeys adds an RSA key that new tokens are signed with at once. The
// former ones go on being published.
func (r *Realm) RotateKeys(t testing.TB) {
	t.Helper()
	r.Admin(t, http.MethodPost, "/components", object{
		"name": "rotated-" + rand.Text(), "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
		"config": object{
			"priority": []string{strconv.FormatInt(time.Now().UnixMilli(), 10)}, "enabled": []string{"true"}, "active": []string{"true"},
			"keySize": []string{"2048"}, "algorithm": []string{"RS256"},
		},
	}, nil)
}

// Admin makes a call of the admin API below the realm.
func (r *Realm) Admin(t testing.TB, method, path string, in, out any) {
	t.Helper()
	r.Keycloak.Admin(t, method, "/realms/"+r.Name+path, in, out)
}

// TellLogouts has Keycloak post the logouts of a client's users to an address:
// of the session that ended, or with session false, of the user alone.
func (r *Realm) TellLogouts(t testing.TB, client, address string, session bool) {
	t.Helper()
	var found []object
	r.Admin(t, http.MethodGet, "/clients?clientId="+url.QueryEscape(client), nil, &found)
	if len(found) != 1 {
		t.Fatalf("keycloak: %d clients %s", len(found), client)
	}
	change := found[0]
	attributes, _ := change["attributes"].(object)
	maps.Copy(attributes, object{
		"backchannel.logout.url": address, "backchannel.logout.session.required": strconv.FormatBool(session),
	})
	change["frontchannelLogout"] = false // the other way, by the browser, goes first
	r.Admin(t, http.MethodPut, "/clients/"+change["id"].(string), change, nil)
}
