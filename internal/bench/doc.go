// Command bench measures what a check costs. In one run, alternating, it puts
// Gatelodge beside a server that says yes to everything (the no-op): the ratio
// of the two is what the project's speed is judged by, because it moves far
// less from machine to machine than microseconds do.
//
//	main.go      what is measured, in order
//	workload.go  the kinds of requests
//	token.go     the tokens in them, and the keys behind the tokens
//	apitoken.go  API tokens of our own, and their store
//	opaque.go    opaque tokens, and the provider that is asked about them
//	capture.go   a CheckRequest of the real Envoy, to be sent again and again
//	gatelodge.go the real server, with everything switched on
//	noop.go      the server that says yes
//	client.go    sends checks over HTTP/2 and judges every answer
//	direct.go    the comparison of the servers alone
//	envoy.go     the real Envoy
//	load.go      sends HTTP requests to it and judges every answer
//	through.go   the comparison through Envoy
//	flood.go     memory, while a million bad tokens come
//	measure.go   turns, rounds, medians, ratios
//	process.go   programs: start, stop, CPU, memory
//	profile.go   the server with a CPU profile, to see where the time goes
//	stage.go     the three ways to measure
//	report.go    tables
//	results.go   RESULTS.md, and the table in README.md
//
// CPU is what the kernel accounts to the process under test; the sender's own
// is not in it. An answer that is not the right one ends the run: a wrong
// server is not timed.
//
// It runs on Linux.
package main
