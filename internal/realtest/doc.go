// Package realtest starts the real programs that tests run against, on
// loopback, and ends them with the test: Envoy, Keycloak, a certified OpenID
// provider and PostgreSQL.
//
// Envoy and the OpenID provider are quick to start: each test gets its own.
// Keycloak and PostgreSQL are shared by the tests of a process, and each test
// gets a realm or a database of its own in them.
//
// A part that is not installed never goes unnoticed: with CI=true the test
// fails; otherwise it is skipped, and `make test` closes with the list of what
// did not run.
package realtest
