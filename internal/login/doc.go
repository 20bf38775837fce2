// Package login fetches an access token for a person at a terminal, or for the
// client itself: what one would otherwise click together in a REST client.
//
//	discover.go  where the provider's endpoints are
//	code.go      authorization code with PKCE on a loopback port (RFC 8252)
//	device.go    device code (RFC 8628)
//	token.go     client credentials (RFC 6749 §4.4), and the token endpoint, which all end at
//	idtoken.go   what the provider must have said of the sign-in
//	browser.go   opening a browser
//
// What is fetched is handed to whoever asked and kept nowhere.
package login
