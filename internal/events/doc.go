// Package events takes what identity providers tell by themselves, over HTTP:
//
//	events.go    routes, bodies, answers: POST /backchannel-logout/<provider>,
//	             POST /ssf/<provider>
//	sparing.go   what keeps junk from filling the log
//
// Who may tell something, and what it means, providers.Receiver knows; what
// becomes of it, authz.Cache. Anybody may call these routes: a token that is
// signed by the provider is the proof, and all that it can do is take access
// away. So nobody is ever locked out of them for the junk that others send.
package events
