package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

func main() {
	ownServer(os.Args)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, os.Args[1:], os.Stdout))
}

// ownServer is what this program does when it has started itself to be
// measured; it does not return then.
func ownServer(args []string) {
	switch {
	case len(args) == 3 && args[1] == "noop":
		exit(serveNoop(args[2]))
	case len(args) == 4 && args[1] == "profiled":
		exit(serveProfiled(args[2], args[3]))
	}
}

func exit(err error) {
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// options are what the command line says.
type options struct {
	rounds int    // of which the median counts
	checks int    // in a round
	tokens int    // of the workload with many
	stored int    // API tokens
	only   string // part of the names of the workloads to run
	stage  string // part of the names of the stages

	profiles string // folder for a CPU profile of each workload; "": none
	against  string // another gatelodge binary, in the place of the no-op
	binary   string // in the place of the one that the tree makes
	lean     bool   // only with the lean transport
	write    bool   // the results are kept
	quick    bool   // only to see that all works
}

func parse(args []string) (*options, error) {
	o := &options{tokens: 10_000, stored: 100_000}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.rounds, "rounds", 5, "rounds, of which the median counts; through Envoy at full load there are nearly twice as many")
	f.IntVar(&o.checks, "checks", 30_000, "checks in a round")
	f.StringVar(&o.only, "only", "", "only workloads with this in their name")
	f.StringVar(&o.stage, "stage", "", "only one stage: direct, envoy, fixed or flood")
	f.StringVar(&o.profiles, "profile", "", "a `folder` for profiles of gatelodge, of CPU time and allocations, one of each a workload")
	f.StringVar(&o.against, "against", "", "another gatelodge `binary`, to be compared to instead of the no-op")
	f.StringVar(&o.binary, "binary", "", "the gatelodge `binary` to measure, instead of one built from the tree")
	f.BoolVar(&o.lean, "lean", false, "have every gatelodge use the lean transport, also the one that is compared to")
	f.BoolVar(&o.write, "write", false, "keep the results in internal/bench/RESULTS.md and README.md")
	f.BoolVar(&o.quick, "quick", false, "a short run that shows that all works; its numbers mean nothing")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 || o.rounds < 1 || o.checks < 1 {
		return nil, errors.New("usage: bench [-quick] [-rounds N] [-checks N] [-only WORD] [-stage WORD] [-profile FOLDER] [-binary FILE] [-against FILE] [-write]")
	}
	if o.quick {
		o.rounds, o.checks, o.tokens, o.stored = 1, 300, 50, 200
	}
	return o, nil
}

// lab is what all measurements share.
type lab struct {
	options *options
	dir     string // for configurations and logs
	binary  string // gatelodge, as the tree makes it
	issuer  *issuer
	bearer  captured // a check with a token
	silent  captured // … one without
	short   captured // … one with an API token
	stored  *stored  // nil until they are needed
	asked   *asked   // likewise
}

// run measures and prints.
func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	l := &lab{options: o}
	if l.dir, err = os.MkdirTemp("", "gatelodge-bench-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(l.dir) }()
	if l.binary = o.binary; l.binary == "" {
		if l.binary, err = build(ctx, l.dir); err != nil {
			return err
		}
	}
	if l.issuer, err = newIssuer(manyTokens); err != nil {
		return err
	}
	defer l.issuer.close()
	defer func() { l.asked.close() }()
	if err := l.capture(ctx); err != nil {
		return err
	}
	r := &results{options: o, stages: l.stages(), by: map[string][]*comparison{}}
	for _, s := range r.stages {
		for i := range workloads {
			w := &workloads[i]
			if !strings.Contains(s.name, o.stage) || !strings.Contains(w.name, o.only) || !s.has(w) {
				continue
			}
			_, _ = fmt.Fprintf(os.Stderr, "bench: %s: %s\n", s.name, w.name)
			c, err := s.run(ctx, w)
			if err != nil {
				return err
			}
			r.by[s.name] = append(r.by[s.name], c)
		}
	}
	if o.only == "" && strings.Contains("flood", o.stage) {
		_, _ = fmt.Fprintln(os.Stderr, "bench: flood")
		if r.flooded, err = l.flood(ctx); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprint(out, r.markdown()); err != nil || !o.write {
		return err
	}
	return r.write(ctx)
}

// capture has the real Envoy write the checks that are sent later.
func (l *lab) capture(ctx context.Context) error {
	r, err := newRecorder()
	if err != nil {
		return err
	}
	defer r.stop()
	p, err := startEnvoy(ctx, l.dir, l.issuer.keySet(), []front{{Name: "capture", Authz: r.address}})
	if err != nil {
		return err
	}
	defer p.stop()
	l.issuer.sign([]int{0})
	if l.bearer, err = r.capture(ctx, p.address["capture"], l.issuer.tokens[0]); err != nil {
		return err
	}
	if l.silent, err = r.capture(ctx, p.address["capture"], ""); err != nil {
		return err
	}
	text, err := tokenstore.NewSecret() // of their length
	if err != nil {
		return err
	}
	l.short, err = r.capture(ctx, p.address["capture"], text.Reveal())
	return err
}
