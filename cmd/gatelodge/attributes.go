package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/trial"
	"github.com/gatelodge/gatelodge/providers"
)

type attributesFlags struct {
	config   string
	provider string
	kind     string
	secret   secretFlags
	timeout  time.Duration
	asJSON   bool
}

func newAttributes() *cobra.Command {
	var f attributesFlags
	cmd := &cobra.Command{
		Use:   "attributes --config FILE --provider NAME",
		Short: "Show a provider's answer about a token, and what in it could be the username",
		Long: `Attributes has a provider prove a token, as the server would, and prints the whole
answer: the token's claims, or what introspection or the user's profile says. Of
it, the attributes that look like a username are listed, the likeliest first,
with the line for the configuration. The token is read from standard input, a
file or the environment, and never printed.

Exit status: 0 the provider answered, 1 it refused the token, 2 wrong use or
configuration, 3 it could not be asked.`,
		Example: `  gatelodge login --config gatelodge.yaml --provider sso | gatelodge attributes --config gatelodge.yaml --provider sso
  gatelodge attributes --config gatelodge.yaml --provider sso --token-file token --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAttributes(cmd, &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "the configuration `FILE`")
	flags.StringVar(&f.provider, "provider", "", "`NAME` of the provider in the configuration")
	flags.StringVar(&f.kind, "type", "bearer", "what the credential is, its `TYPE`: bearer, basic or key")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "the `TIME` to wait for the provider")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	f.secret.add(cmd, "token")
	_ = cmd.MarkFlagRequired("config")   // the flag was defined above
	_ = cmd.MarkFlagRequired("provider") // the flag was defined above
	return cmd
}

func runAttributes(cmd *cobra.Command, f *attributesFlags) error {
	kind, err := trial.ParseKind(f.kind)
	if err != nil {
		return fmt.Errorf("--type: %w", err)
	}
	bench, err := openBench(f.config)
	if err != nil {
		return err
	}
	defer bench.Close()
	settings, err := findProvider(bench.Config(), f.provider)
	if err != nil {
		return err
	}
	provider, err := bench.Provider(f.provider)
	if err != nil {
		return fmt.Errorf("provider %q: %w", f.provider, err)
	}
	secret, err := f.secret.read(cmd)
	if err != nil {
		return err
	}
	cred, err := trial.Credential(kind, secret)
	if err != nil {
		return err
	}
	// What the provider did not issue it is never shown.
	if !provider.Owns(cred) {
		return no(fmt.Errorf("the credential is not of provider %q: %s", f.provider, providers.Foreign(settings, cred)))
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	found, err := trial.Ask(ctx, provider, cred, bench.ready)
	switch {
	case errors.Is(err, authz.ErrRejected):
		return no(fmt.Errorf("provider %q: %w", f.provider, err))
	case err != nil:
		return undecided(fmt.Errorf("provider %q: %w", f.provider, err))
	case f.asJSON:
		return printJSON(cmd.OutOrStdout(), found)
	}
	return printAttributes(cmd.OutOrStdout(), f.provider, found)
}

// printAttributes writes an answer for people.
func printAttributes(w io.Writer, provider string, a trial.Attributes) error {
	if err := printJSON(w, a.Response); err != nil {
		return err
	}
	if len(a.Candidates) == 0 {
		_, err := fmt.Fprintln(w, "\nNothing in it looks like a username.")
		return err
	}
	_, _ = fmt.Fprintln(w, "\nCould be the username, the likeliest first:") // Flush tells
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range a.Candidates {
		_, _ = fmt.Fprintf(t, "  %s\t%s\n", visible(c.Attribute), visible(c.Value)) // Flush tells
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nFor provider %s in the configuration:\n    username: [%s]\n",
		provider, yamlWord(a.Candidates[0].Attribute))
	return err
}

var plainWord = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

// yamlWord writes a word so that YAML reads it back, quoted where it must be.
func yamlWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}
