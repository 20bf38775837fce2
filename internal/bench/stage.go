package main

import (
	"context"
	"fmt"
	"strings"
)

// stage is one way to measure.
type stage struct {
	name, title string
	about       string // how it is measured, in Markdown
	has         func(w *workload) bool
	run         func(ctx context.Context, w *workload) (*comparison, error)
	table       func(list []*comparison) string
}

// fixedRate is how much is sent in a second where that is not what is measured.
const fixedRate = 1000

func (l *lab) stages() []stage {
	proxied := func(w *workload) bool { return w.proxied && (!l.options.quick || w == &workloads[0]) }
	return []stage{
		{
			name: "direct", title: "The server alone", run: l.direct, table: directTable,
			has: func(*workload) bool { return true },
			about: fmt.Sprintf(`A CheckRequest of the real Envoy is sent by ourselves, %d at a time on one connection. The no-op is the
least that a server can be: grpc-go, Envoy's generated messages and a yes to everything. CPU is what
the kernel accounts to the server; every answer is checked.

%s`, inFlight, abouts()),
		},
		{
			name: "envoy", title: "Through Envoy, at full load", has: proxied, table: throughTable,
			run: func(ctx context.Context, w *workload) (*comparison, error) { return l.through(ctx, w, 0) },
			about: fmt.Sprintf(`%d HTTP/1.1 connections, a request at a time on each, answered by Envoy itself once it is let through. CPU
is Envoy's and the server's together. Envoy, the servers and the sender share the machine as they like: nobody is tied
to a core, or told how many there are. There are %d rounds of %d requests.
`, inFlight, fullRounds(l.options), fullLoad),
		},
		{
			name: "fixed", title: fmt.Sprintf("Through Envoy, %d requests a second", fixedRate), has: proxied, table: fixedTable,
			run: func(ctx context.Context, w *workload) (*comparison, error) { return l.through(ctx, w, fixedRate) },
			about: `Where a check comes alone, waking up is most of its cost, for any server. Times count from when a request
was due.
`,
		},
	}
}

// abouts tells what each workload is.
func abouts() string {
	var b strings.Builder
	for i := range workloads {
		fmt.Fprintf(&b, "- %s: %s\n", workloads[i].name, workloads[i].about)
	}
	return b.String()
}
