// Package trial tries a credential out and says what came of it: the "Test
// token" and "Get username attribute" buttons, for the command line and
// whoever else has such buttons.
//
//	request.go     a credential → the request that would bring it
//	test.go        what is decided on it, each step with its outcome
//	attributes.go  what its provider says, and which of it looks like a username
//
// The credential itself never stands in what is returned.
package trial
