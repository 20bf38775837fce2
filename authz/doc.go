// Package authz decides. It is handed the few facts of a request that a
// decision may use and answers with a Decision; it knows neither Envoy nor any
// identity provider.
//
// A token's way through the package:
//
//	Request ─▶ engine.go      Decide: all of what follows, in this order
//	        ─▶ path.go        one normal form of the path, or 400
//	        ─▶ verdict.go     the first rule that matches (match.go finds it)
//	        ─▶ credential.go  exactly one credential, or a refusal
//	        ─▶ cache.go       proven a moment ago? (remembered.go, slot.go and
//	                          shape.go: how an identity is kept; refusals.go)
//	        ─▶ identify.go    otherwise: its owner, by shape alone, verifies it
//	        ─▶ revocation.go  has its session ended since?
//	        ─▶ admit.go       may this identity do this?
//	        ─▶ Decision
//
// Three answers are kept apart from end to end: not mine (Provider.Owns),
// refused (ErrRejected) and cannot tell (every other error). A doubt is a
// denial: the zero Decision lets nothing through.
package authz
