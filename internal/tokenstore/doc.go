// Package tokenstore makes, keeps and recognises API tokens: what scripts and
// tools send that cannot do OAuth.
//
// A token's life, file by file:
//
//	format.go    the text: gl_, 256 random bits, a checksum; only its hash is kept
//	record.go    what is known of a token: owner, end, limits, last use
//	check.go     what a record may hold
//	issuer.go    create, rotate, revoke, import: the rules that hold for people
//	store.go     where records are kept: one small interface, one suite (storetest)
//	sql.go       what both stores share; sqlite.go, postgres.go: what they do not
//	index.go     all tokens in memory: what a request is answered from
//	finder.go    finds them there, in a time that tells nothing
//	table.go     what many tokens share, by number
//	feed.go      keeps the index equal to the store, within a second
//	uses.go      when and from where each token was last used, written in batches
//
// In memory a token costs 220 to 270 bytes, used or not: a million take 270 MB.
//
// A request never waits for the store. A change is acknowledged when the store
// has it for good, and every replica obeys it within a second of that; a replica
// that cannot see the store goes on with what it knows for a set time, and
// then says that it cannot tell.
package tokenstore
