// Package demo brings up the whole picture on one machine: a real Envoy, an
// identity provider, a sample API, and Gatelodge between them.
//
//	curl ──▶ Envoy ──▶ sample API        envoy.go, api.go
//	           │
//	           ▼
//	       Gatelodge ──keys──▶ demo identity provider
//	       world.go            idp.go, grants.go, pages.go, mint.go
//
// world.go starts the parts in order and ends them; tour.go walks a list of
// requests through them and says of each whether it came out right.
//
// The identity provider signs with keys that live as long as the process, has
// users without passwords, and listens on loopback only: it is for showing and
// for tests, never for use.
package demo
