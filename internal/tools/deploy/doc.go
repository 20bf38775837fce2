// Package deploy holds the tests of the files that deploy Gatelodge:
// docker-compose.yml and examples/istio. Each is read with the loader or the
// schemas of the system that it is for. They stand in this module so that the
// product does not depend on those systems.
package deploy
