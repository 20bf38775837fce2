package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/trial"
	"github.com/gatelodge/gatelodge/providers"
)

type testFlags struct {
	config  string
	kind    string
	secret  secretFlags
	method  string
	host    string
	path    string
	source  string
	headers []string
	timeout time.Duration
	explain bool
	cases   string
	asJSON  bool
}

func newTest() *cobra.Command {
	var f testFlags
	cmd := &cobra.Command{
		Use:   "test --config FILE [--cases FILE]",
		Short: "Try out what is decided on a token",
		Long: `Test decides on a request that brings a credential, exactly as the server would,
and prints the decision, the user, and every step on the way with its outcome.
It asks the real providers. The credential is read from standard input, a file
or the environment, and never printed. For --type basic it is user:password.

With --cases it decides a table of requests instead, each with what is expected,
and asks nobody: an issuer that is built in vouches for the claims of each case.

Exit status: 0 let through, 1 denied, 2 wrong use or configuration, 3 it could
not be told, for example because the provider cannot be reached.`,
		Example: `  gatelodge login --config gatelodge.yaml --provider sso | gatelodge test --config gatelodge.yaml
  gatelodge test --config gatelodge.yaml --token-file token --path /rest/admin --explain
  gatelodge test --config gatelodge.yaml --type key --token-env WIKI_KEY --method POST --json
  gatelodge test --config gatelodge.yaml --cases cases.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.cases != "" {
				return runCases(cmd, &f)
			}
			return runTest(cmd, &f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "the configuration `FILE`")
	flags.StringVar(&f.kind, "type", "bearer", "how the credential is brought, its `TYPE`: bearer, basic or key")
	flags.StringVar(&f.method, "method", "GET", "`METHOD` of the request")
	flags.StringVar(&f.host, "host", "localhost", "`HOST` of the request")
	flags.StringVar(&f.path, "path", "/", "`PATH` of the request, with its query")
	flags.StringVar(&f.source, "source", "127.0.0.1", "`ADDRESS` that the request comes from")
	flags.StringArrayVar(&f.headers, "header", nil, "a further `HEADER` of the request, 'Name: value'; may be repeated")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "the `TIME` to wait for providers")
	flags.BoolVar(&f.explain, "explain", false, "print what is known of the user, and why a token was refused")
	flags.StringVar(&f.cases, "cases", "", "a `FILE` of requests and expected decisions; asks no provider")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	f.secret.add(cmd, "token")
	for _, one := range []string{"type", "method", "host", "path", "source", "header"} {
		cmd.MarkFlagsMutuallyExclusive("cases", one)
	}
	_ = cmd.MarkFlagRequired("config") // the flag was defined above
	return cmd
}

func runTest(cmd *cobra.Command, f *testFlags) error {
	kind, err := trial.ParseKind(f.kind)
	if err != nil {
		return fmt.Errorf("--type: %w", err)
	}
	request, err := f.request()
	if err != nil {
		return err
	}
	bench, err := openBench(f.config)
	if err != nil {
		return err
	}
	defer bench.Close()
	secret, err := f.secret.read(cmd)
	if err != nil {
		return err
	}
	q, err := request.With(trial.Way{Kind: kind, KeyHeader: bench.keyHeader}, secret)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	report := trial.Test(ctx, bench, q, bench.ready)
	if report.Reason == authz.ReasonNoOwner.String() {
		report.Advice += foreignTo(bench.Config().Providers, kind, secret)
	}
	if f.asJSON {
		err = printJSON(cmd.OutOrStdout(), report)
	} else {
		err = printReport(cmd.OutOrStdout(), report, f.explain)
	}
	switch {
	case err != nil:
		return err
	case report.Decision == trial.Allow:
		return nil
	case report.Decision == trial.Deny:
		return no(nil)
	}
	return undecided(nil)
}

// foreignTo says of each provider why a credential is not its own.
func foreignTo(list []providers.Config, kind authz.Kind, secret authz.Secret) string {
	cred, err := trial.Credential(kind, secret)
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, p := range list {
		b.WriteString("; " + providers.Foreign(p, cred))
	}
	return b.String()
}

// request is the request that the flags describe, without the credential.
func (f *testFlags) request() (trial.Request, error) {
	r := trial.Request{Method: f.method, Host: f.host, Path: f.path}
	var err error
	if r.Source, err = netip.ParseAddr(f.source); err != nil {
		return r, fmt.Errorf("--source: %w", err)
	}
	for _, line := range f.headers {
		name, value, ok := strings.Cut(line, ":")
		if name = strings.ToLower(strings.TrimSpace(name)); !ok || name == "" {
			return r, fmt.Errorf("--header %q: is not like 'Name: value'", line)
		}
		if name == "authorization" {
			return r, fmt.Errorf("--header: a credential is not given as an argument: see --token-file and --token-env")
		}
		r.Headers = append(r.Headers, authz.Header{Name: name, Value: strings.TrimSpace(value)})
	}
	return r, nil
}

// printReport writes a report for people.
func printReport(w io.Writer, r trial.Report, explain bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _, _ = fmt.Fprintln(t, strings.Join(cells, "\t")) } // Flush tells
	row("decision:", fmt.Sprintf("%s (%d, %s)", r.Decision, r.Status, r.Reason))
	optional := func(name, value string) {
		if value != "" {
			row(name+":", visible(value))
		}
	}
	optional("user", r.User)
	optional("provider", r.Provider)
	optional("rule", r.Rule)
	if id := r.Identity; explain && id != nil {
		optional("subject", id.Subject)
		optional("issuer", id.Issuer)
		optional("client", id.Client)
		optional("e-mail", id.Email)
		optional("groups", strings.Join(id.Groups, ", "))
		optional("roles", strings.Join(id.Roles, ", "))
		optional("scopes", strings.Join(id.Scopes, " "))
		if !id.Expires.IsZero() {
			row("expires:", id.Expires.Format(time.RFC3339))
		}
	}
	if explain {
		optional("detail", r.Detail)
	}
	optional("what to do", r.Advice)
	row("steps:")
	for _, s := range r.Steps {
		row("  "+s.Outcome, s.Name+mark(": ", visible(s.Detail)))
	}
	return t.Flush()
}

// mark returns the text with a mark before it, or nothing for nothing.
func mark(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

// visible keeps what comes out of a token from steering the terminal.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}
