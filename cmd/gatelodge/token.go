package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/serve"
	"github.com/gatelodge/gatelodge/internal/telemetry"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

func newToken() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make, list, rotate and revoke API tokens",
		Long: `Token works on the store that api_tokens.store names, beside a server that runs:
every server obeys a change within a second of it.

A token is shown once, when it is made; what is kept is its hash. Lists, logs
and records name it by its id.

Exit status: 0 done, 1 there is no such token, 2 wrong use or configuration,
3 the store cannot be reached.`,
		Example: `  gatelodge token create --config gatelodge.yaml --user alice --name ci --expires 90d --read-only
  gatelodge token list --config gatelodge.yaml --user alice
  gatelodge token rotate --config gatelodge.yaml rvrnwzzowfa7zsxk --overlap 24h
  gatelodge token revoke --config gatelodge.yaml --leaked < build.log`,
		Args: noSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenCreate(), newTokenList(), newTokenShow(), newTokenRotate(), newTokenRevoke(), newTokenImport())
	return cmd
}

// tokenFlags are those of every command on tokens.
type tokenFlags struct {
	config string
	asJSON bool
}

func (f *tokenFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "", "the configuration `FILE`")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	_ = cmd.MarkFlagRequired("config") // the flag was defined above
}

// storeTime bounds one command on the store.
const storeTime = 30 * time.Second

// with opens the store and calls do. Errors come back with their exit status.
func (f *tokenFlags) with(cmd *cobra.Command, do func(ctx context.Context, tokens *tokenstore.Issuer) error) error {
	c, err := loadConfig(f.config)
	if err != nil {
		return err
	}
	if c.APITokens == nil {
		return errors.New("the configuration has no api_tokens; add api_tokens: {store: sqlite:gatelodge.db}")
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), storeTime)
	defer cancel()
	store, err := serve.OpenTokenStore(ctx, c.APITokens)
	if err != nil {
		return undecided(err)
	}
	err = do(ctx, tokenstore.NewIssuer(store, nil, serve.TokenLimits(c.APITokens), time.Now, recorder(cmd, c.Log.Audit.File)))
	return tokenError(errors.Join(err, store.Close()))
}

// recorder writes changes into the file that a server on the same machine has
// for its audit record, if there is one. What cannot be written there is said;
// the store has every change in its own record in any case.
func recorder(cmd *cobra.Command, path string) tokenstore.Audit {
	if path == "" || path == "none" {
		return nil
	}
	return func(e tokenstore.Event, r *tokenstore.Record) {
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			audit := telemetry.NewAudit(file, 0, time.Now)
			err = audit.Change(telemetry.Change{Action: e.Action, Actor: e.Actor, TokenID: r.ID, User: r.Owner, Name: r.Name})
			audit.Close()
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			cmd.PrintErrf("warning: the change of %s was made, and stands in the store's own record alone: %v\n", r.ID, err)
		}
	}
}

// tokenError gives an error of the store its exit status.
func tokenError(err error) error {
	var coded *exitError
	switch {
	case err == nil, errors.As(err, &coded):
		return err
	case errors.Is(err, tokenstore.ErrNotFound), errors.Is(err, tokenstore.ErrEnded):
		return no(err)
	case errors.Is(err, tokenstore.ErrInvalid), errors.Is(err, tokenstore.ErrTooMany), errors.Is(err, tokenstore.ErrExists):
		return err
	}
	return undecided(err)
}

// actor is who changes a token from the command line, for its history.
func actor() string {
	u, err := user.Current()
	if err != nil || u.Username == "" {
		return "command line"
	}
	return "command line: " + strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, u.Username)
}

func newTokenCreate() *cobra.Command {
	var f tokenFlags
	var o tokenstore.Order
	var out string
	cmd := &cobra.Command{
		Use:   "create --config FILE --user USER --name NAME",
		Short: "Make a token and show it, once",
		Long: `Create makes a token for a user and prints it, once: it cannot be shown again.
In text form standard output has the token alone; all else goes to standard error.`,
		Example: `  gatelodge token create --config gatelodge.yaml --user alice --name ci --expires 90d
  gatelodge token create --config gatelodge.yaml --user bob --name backup --read-only --path '/rest/api/**' --source 10.0.0.0/8 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.secret(cmd, out, func(ctx context.Context, tokens *tokenstore.Issuer) (tokenstore.Issued, error) {
				return tokens.Create(ctx, actor(), o)
			})
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.User, "user", "", "`USER` that the token speaks for")
	flags.StringVar(&o.Name, "name", "", "`NAME` of the token in lists")
	flags.StringVar(&o.Description, "description", "", "what it is for, in `WORDS`")
	flags.StringVar(&o.Expires, "expires", "", "the `TIME` that it lives, as 90d or 12h; or its end, as 2027-01-31T00:00:00Z; or never (default 90d)")
	flags.BoolVar(&o.ReadOnly, "read-only", false, "only for GET, HEAD and OPTIONS, and for what a rule's preset knows to be reading")
	flags.StringArrayVar(&o.Paths, "path", nil, "only for this `PATH`, as /rest/api/**; may be repeated")
	flags.StringArrayVar(&o.Hosts, "host", nil, "only for this `HOST`; may be repeated")
	flags.StringArrayVar(&o.Sources, "source", nil, "only from this `ADDRESS` or network; may be repeated")
	flags.StringArrayVar(&o.Groups, "group", nil, "a `GROUP` of the user, for rules and the upstream; may be repeated")
	flags.StringVar(&out, "out", "", "write what would be printed to a new `FILE` that only you can read")
	_ = cmd.MarkFlagRequired("user") // the flags were defined above
	_ = cmd.MarkFlagRequired("name")
	return cmd
}

// secret has a token made and prints it: to a file, or standard output.
func (f *tokenFlags) secret(cmd *cobra.Command, out string, issue func(context.Context, *tokenstore.Issuer) (tokenstore.Issued, error)) error {
	return secretOutput(cmd, out, func(w io.Writer) error {
		return f.with(cmd, func(ctx context.Context, tokens *tokenstore.Issuer) error {
			made, err := issue(ctx, tokens)
			if err != nil {
				return err
			}
			view := made.View(time.Now()).WithSecret(made.Secret)
			if f.asJSON {
				return printJSON(w, view)
			}
			cmd.PrintErrf("Token %s of %s, %s. It is not shown again.\n", made.ID, visible(made.Owner), ends(view.Expires))
			_, err = fmt.Fprintln(w, view.Token)
			return err
		})
	})
}

// secretOutput hands write a file that only its owner can read, and that was
// not there before; or standard output. The file is opened first: a secret that
// was made and could not be shown would be lost.
func secretOutput(cmd *cobra.Command, path string, write func(io.Writer) error) error {
	if path == "" {
		return write(cmd.OutOrStdout())
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	err = errors.Join(write(file), file.Close())
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}

func newTokenList() *cobra.Command {
	var f tokenFlags
	var owner, status, olderThan, unused string
	cmd := &cobra.Command{
		Use:     "list --config FILE",
		Short:   "List tokens",
		Long:    "List shows tokens with their state and when each was last used, never their text.",
		Example: `  gatelodge token list --config gatelodge.yaml --status active --unused 90d`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			filter, err := filterOf(owner, olderThan, unused, now)
			if err != nil {
				return err
			}
			if err := filter.OfStatus(tokenstore.Status(status), now); err != nil {
				return err
			}
			return f.with(cmd, func(ctx context.Context, tokens *tokenstore.Issuer) error {
				records, err := tokens.List(ctx, filter)
				if err != nil {
					return err
				}
				views := make([]tokenstore.View, 0, len(records))
				for i := range records {
					views = append(views, records[i].View(now))
				}
				if f.asJSON {
					return printJSON(cmd.OutOrStdout(), views)
				}
				return printTokens(cmd.OutOrStdout(), views)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&owner, "user", "", "only this `USER`'s")
	cmd.Flags().StringVar(&status, "status", "", "only those of this `STATUS`: active, expired or revoked")
	cmd.Flags().StringVar(&olderThan, "older-than", "", "only those whose secret is older than this `TIME`, as 90d")
	cmd.Flags().StringVar(&unused, "unused", "", "only those not used for this `TIME`, as 90d")
	return cmd
}

// filterOf makes a filter of flags.
func filterOf(owner, olderThan, unused string, now time.Time) (tokenstore.Filter, error) {
	f := tokenstore.Filter{Owner: owner}
	for _, one := range []struct {
		flag, text string
		to         *time.Time
	}{{"--older-than", olderThan, &f.OlderThan}, {"--unused", unused, &f.UnusedSince}} {
		if one.text == "" {
			continue
		}
		d, err := tokenstore.ParseLifetime(one.text)
		if err != nil {
			return f, fmt.Errorf("%s: %w", one.flag, err)
		}
		*one.to = now.Add(-d)
	}
	return f, nil
}

func newTokenShow() *cobra.Command {
	var f tokenFlags
	cmd := &cobra.Command{
		Use:     "show --config FILE ID",
		Short:   "Show one token with its history",
		Long:    "Show tells all that is known of one token: its limits, its last use, and who changed it when.",
		Example: `  gatelodge token show --config gatelodge.yaml rvrnwzzowfa7zsxk`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd, func(ctx context.Context, tokens *tokenstore.Issuer) error {
				r, err := tokens.Show(ctx, tokenstore.Filter{ID: args[0]})
				if err != nil {
					return err
				}
				if f.asJSON {
					return printJSON(cmd.OutOrStdout(), r.View(time.Now()))
				}
				return printToken(cmd.OutOrStdout(), r.View(time.Now()))
			})
		},
	}
	f.add(cmd)
	return cmd
}

// printTokens writes tokens for people, a line each.
func printTokens(w io.Writer, views []tokenstore.View) error {
	if len(views) == 0 {
		_, err := fmt.Fprintln(w, "There are no such tokens.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _, _ = fmt.Fprintln(t, strings.Join(cells, "\t")) } // Flush tells
	row("ID", "USER", "NAME", "STATUS", "EXPIRES", "LAST USED", "LIMITS")
	for _, v := range views {
		row(v.ID, visible(v.User), visible(v.Name), string(v.Status), date(v.Expires, "never"), date(v.LastUsed, "never"), limitsOf(v))
	}
	return t.Flush()
}

func printToken(w io.Writer, v tokenstore.View) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(t, "%s:\t%s\n", name, visible(value)) // Flush tells
		}
	}
	row("id", v.ID)
	row("user", v.User)
	row("name", v.Name)
	row("description", v.Description)
	row("status", string(v.Status))
	row("expires", date(v.Expires, "never"))
	row("limits", limitsOf(v))
	row("groups", strings.Join(v.Groups, ", "))
	row("created", date(&v.Created, "")+" by "+v.CreatedBy)
	row("old secret ends", date(v.PreviousUntil, ""))
	if v.Revoked != nil {
		row("revoked", date(v.Revoked, "")+" by "+v.RevokedBy)
	}
	row("last used", strings.TrimSpace(date(v.LastUsed, "never")+mark(" from ", v.LastSource)))
	for _, e := range v.History {
		row("history", date(&e.At, "")+" "+e.Action+" by "+e.Actor)
	}
	return t.Flush()
}

func limitsOf(v tokenstore.View) string {
	var list []string
	if v.ReadOnly {
		list = append(list, "read-only")
	}
	list = append(append(list, v.Paths...), v.Hosts...)
	for _, s := range v.Sources {
		list = append(list, s.String())
	}
	return visible(strings.Join(list, " "))
}

func date(t *time.Time, none string) string {
	if t == nil {
		return none
	}
	return t.UTC().Format(time.RFC3339)
}

func ends(t *time.Time) string {
	if t == nil {
		return "which never expires"
	}
	return "until " + date(t, "")
}
