// Package trial tries a credential out and says what came of it: the "Test
// token" and "Get username attribute" buttons, for the command line and
// whoever else has such buttons.
//
//	request.go     a credential → the request that would bring it
//	test.go        what is decided on it, each step with its outcome
//	cases.go       a table of requests and expected decisions → what differs
//	vouched.go     the issuer that is built in, for cases
//	attributes.go  what its provider says, and which of it looks like a username
//
// The credential itself never stands in what is returned.
package trial
