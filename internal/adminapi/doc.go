// Package adminapi is the admin API: what the token command does, over HTTP
// on the admin listener, for other programs and for people's own tokens.
//
//	api.go       routes, and who may use which
//	caller.go    who is asking: the admin token, or a login by the gate itself
//	tokens.go    what each route for tokens does
//	explain.go   what is decided on a request, and why
//	request.go   bodies and queries, read strictly
//	problem.go   errors → problem details (RFC 9457)
//	openapi.json the API for other programs (OpenAPI 3.1), served with it
//
// There are three roles. An admin does everything; an auditor sees everything
// and changes nothing; anybody else who logs in sees and changes their own
// tokens. Credentials come in the Authorization header alone, never in a cookie,
// so that no page of somebody else's can borrow them.
package adminapi
