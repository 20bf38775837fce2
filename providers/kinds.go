package providers

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/authz"
)

// Kinds is the table of provider types: to add one, write its file and put its
// line here.
func Kinds() []Kind {
	return []Kind{
		oidc,
		oauth2,
		keycloak,
		entra,
		okta,
		cognito,
		google,
		github,
		slack,
		gitlab,
		facebook,
	}
}

// Find returns the kind of a type or alias.
func Find(name string) (Kind, bool) {
	for _, k := range Kinds() {
		if k.Type == name || slices.Contains(k.Aliases, name) {
			return k, true
		}
	}
	return Kind{}, false
}

// commonKeys are the keys of Config that every kind understands.
var commonKeys = []string{
	"name", "type", "client_id", "client_secret", "audiences", "allowed_clients", "username", "transform", "email",
	"groups", "service_accounts", "validation", "endpoints", "ca_file", "timeout", "cache", "allow_insecure_http",
	"client_auth", "client_key", "algorithms", "leeway", "strict_type", "app_binding",
	"events",
}

// Prepare returns c with its kind's defaults filled in.
func Prepare(c Config) Config {
	if k, ok := Find(c.Type); ok && k.Defaults != nil {
		k.Defaults(&c)
	}
	return c
}

// Check returns all that is wrong with the settings of one provider.
func Check(c Config) []authz.Fault {
	k, ok := Find(c.Type)
	if !ok {
		return []authz.Fault{{Key: "type", Problem: fmt.Sprintf("%q is no provider type; there are %s", c.Type, strings.Join(Types(), ", "))}}
	}
	faults := k.strange(c)
	if k.Check != nil {
		faults = append(faults, k.Check(Prepare(c))...)
	}
	for i := range faults {
		key, _, _ := strings.Cut(faults[i].Key, "[")
		if place := k.Places[key]; place != "" {
			faults[i].Problem += "; it stands " + place
		}
	}
	return append(faults, eventFaults(Prepare(c))...)
}

// Warnings returns what the settings of a provider allow that is weaker than it
// looks: to be shown, not refused.
func Warnings(c Config) (warnings []authz.Fault) {
	if c.AppBinding == "none" {
		warnings = append(warnings, authz.Fault{Key: "app_binding", Problem: "tokens of any app of this provider are accepted: whoever runs one can use its users' tokens here"})
	}
	if k, ok := Find(c.Type); ok && k.Warn != nil {
		warnings = append(warnings, k.Warn(Prepare(c))...)
	}
	return warnings
}

// Types returns the names of all types, in the table's order.
func Types() (names []string) {
	for _, k := range Kinds() {
		names = append(names, k.Type)
	}
	return names
}

// strange finds keys that are set and mean nothing to the kind.
func (k Kind) strange(c Config) (faults []authz.Fault) {
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("yaml")
		if v.Field(i).IsZero() || slices.Contains(commonKeys, key) || slices.Contains(k.Keys, key) {
			continue
		}
		faults = append(faults, authz.Fault{Key: key, Problem: fmt.Sprintf("means nothing to providers of type %s; they know %s",
			k.Type, strings.Join(append(slices.Clone(k.Keys), "and the keys of every provider"), ", "))})
	}
	return faults
}

// New makes a provider. The settings must be without faults.
func New(c Config, env Env) (Provider, error) {
	k, ok := Find(c.Type)
	if !ok {
		return nil, fmt.Errorf("%q is no provider type", c.Type)
	}
	return k.New(Prepare(c), env)
}
