// Package providers knows the identity providers: how each one's tokens look,
// how they are checked and which attribute of the answer is the username.
//
// A provider is one small file that puts together shared blocks:
//
//	jwt.go            a signed token, checked here against the provider's keys
//	introspect.go     an opaque token, the provider asked (RFC 7662)
//	profile.go        an opaque token, the provider's "who am I" asked
//	asked.go          what the last two share; guard.go stands before their calls
//	checked_asked.go  the first and the third together
//	identity.go       attributes → authz.Identity, by the configured paths
//
// What a provider tells by itself comes in by event.go, on the JWT block too:
// logouts (logout.go) and security events (signal.go).
//
// To add one: a file with its constructor, a line in the table Kinds, a folder
// of recorded answers under testdata, and a row in the README. The suite in
// providertest must pass.
package providers
