// Package serve puts the parts together into a running server:
//
//	gate.go        a configuration → the engine that decides by it
//	roster.go      the providers, kept across configurations where they can be
//	serve.go       listeners, reload, orderly end
//	events.go      what identity providers tell by themselves: logouts
//	tls.go         certificates that are read again when they change
//	memory.go      the garbage collector's pace
//	processors.go  how many processors to run on
//
// Nothing in it decides: it only makes what does.
package serve
