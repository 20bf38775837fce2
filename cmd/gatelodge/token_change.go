package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

func newTokenRotate() *cobra.Command {
	var f tokenFlags
	var overlap, expires, out string
	cmd := &cobra.Command{
		Use:   "rotate --config FILE ID",
		Short: "Give a token a new secret and show it, once",
		Long: `Rotate gives a token a new secret and prints it, once. The old one goes on for
the overlap, so that whoever uses it can change over; --overlap 0s ends it now.`,
		Example: `  gatelodge token rotate --config gatelodge.yaml rvrnwzzowfa7zsxk --overlap 24h --expires 90d`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			long, err := tokenstore.ParseLifetime(overlap)
			if err != nil {
				return fmt.Errorf("--overlap: %w", err)
			}
			return f.secret(cmd, out, func(ctx context.Context, tokens *tokenstore.Issuer) (tokenstore.Issued, error) {
				return tokens.Rotate(ctx, actor(), tokenstore.Filter{ID: args[0]}, long, expires)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&overlap, "overlap", tokenstore.FormatLifetime(tokenstore.DefaultOverlap), "the `TIME` that the old secret goes on")
	cmd.Flags().StringVar(&expires, "expires", "", "a new `END`, as for create; without it the end stays as it is")
	cmd.Flags().StringVar(&out, "out", "", "write what would be printed to a new `FILE` that only you can read")
	return cmd
}

type revokeFlags struct {
	tokenFlags
	owner     string
	olderThan string
	unused    string
	leaked    bool
	file      string
}

func newTokenRevoke() *cobra.Command {
	var f revokeFlags
	cmd := &cobra.Command{
		Use:   "revoke --config FILE [ID]",
		Short: "End tokens for good",
		Long: `Revoke ends one token by its id; all of a user; all whose secret is older or that
were not used for a time; or every token that stands in a text, such as a log
in which one was found. It prints what it ended.`,
		Example: `  gatelodge token revoke --config gatelodge.yaml rvrnwzzowfa7zsxk
  gatelodge token revoke --config gatelodge.yaml --user alice
  gatelodge token revoke --config gatelodge.yaml --older-than 365d
  gatelodge token revoke --config gatelodge.yaml --leaked --file build.log`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runRevoke(cmd, &f, args) },
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.owner, "user", "", "all of this `USER`'s")
	flags.StringVar(&f.olderThan, "older-than", "", "all whose secret is older than this `TIME`, as 365d")
	flags.StringVar(&f.unused, "unused", "", "all that were not used for this `TIME`, as 90d")
	flags.BoolVar(&f.leaked, "leaked", false, "all that stand in a text: standard input, or --file")
	flags.StringVar(&f.file, "file", "", "the text for --leaked, a `FILE`")
	cmd.MarkFlagsMutuallyExclusive("leaked", "user")
	cmd.MarkFlagsMutuallyExclusive("leaked", "older-than")
	cmd.MarkFlagsMutuallyExclusive("leaked", "unused")
	return cmd
}

// maxLeaked bounds a text that is looked through for tokens, in bytes.
const maxLeaked = 256 << 20

func runRevoke(cmd *cobra.Command, f *revokeFlags, args []string) error {
	filter, err := filterOf(f.owner, f.olderThan, f.unused, time.Now())
	if err != nil {
		return err
	}
	if len(args) == 1 {
		filter.ID = args[0]
	}
	none := filter == tokenstore.Filter{}
	switch {
	case f.leaked && !none:
		return errors.New("--leaked goes alone: a text says which tokens it holds")
	case none && !f.leaked:
		return errors.New("say which tokens: an ID, --user, --older-than, --unused or --leaked")
	case f.file != "" && !f.leaked:
		return errors.New("--file is for --leaked")
	}
	return f.with(cmd, func(ctx context.Context, tokens *tokenstore.Issuer) error {
		if f.leaked {
			return revokeLeaked(ctx, cmd, f, tokens)
		}
		records, err := tokens.Revoke(ctx, actor(), filter)
		if err != nil {
			return err
		}
		return printRevoked(cmd, f, records)
	})
}

func revokeLeaked(ctx context.Context, cmd *cobra.Command, f *revokeFlags, tokens *tokenstore.Issuer) error {
	text, err := readAll(cmd, f.file, maxLeaked)
	if err != nil {
		return err
	}
	records, found, err := tokens.RevokeLeaked(ctx, actor(), tokenstore.Filter{}, string(text))
	if err != nil {
		return fmt.Errorf("after %d tokens were revoked: %w", len(records), err)
	}
	cmd.PrintErrf("The text holds %d different tokens; %d of ours were still good.\n", found, len(records))
	return printRevoked(cmd, f, records)
}

func printRevoked(cmd *cobra.Command, f *revokeFlags, records []tokenstore.Record) error {
	views := make([]tokenstore.View, 0, len(records))
	for i := range records {
		views = append(views, records[i].View(time.Now()))
	}
	switch {
	case f.asJSON:
		return printJSON(cmd.OutOrStdout(), views)
	case len(views) == 0:
		cmd.PrintErrln("Nothing to revoke: no token that was not revoked before matches.")
		return nil
	}
	return printTokens(cmd.OutOrStdout(), views)
}

// readAll reads a file, or standard input where path is empty or "-".
func readAll(cmd *cobra.Command, path string, most int64) ([]byte, error) {
	in, name := cmd.InOrStdin(), "standard input"
	if path != "" && path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		in, name = file, path
	}
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", name, err)
	case int64(len(text)) > most:
		return nil, fmt.Errorf("reading %s: it has more than %d bytes; cut it", name, most)
	}
	return text, nil
}

func newTokenImport() *cobra.Command {
	var f tokenFlags
	var file, out string
	cmd := &cobra.Command{
		Use:   "import --config FILE --file TOKENS",
		Short: "Make many tokens, or take over those of another store",
		Long: `Import reads a JSON array of tokens to make, all or none: user and name, and what
else 'token create' takes, as description, groups, read_only, hosts, paths,
sources, expires. With token_sha256, the SHA-256 of a token's text in hexadecimal
digits, a token that exists elsewhere is taken over and goes on working.

It prints what it made as JSON, with the new tokens: once.`,
		Example: `  gatelodge token import --config gatelodge.yaml --file tokens.json --out made.json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := readAll(cmd, file, maxLeaked)
			if err != nil {
				return err
			}
			var orders []tokenstore.Order
			d := json.NewDecoder(bytes.NewReader(text))
			d.DisallowUnknownFields()
			if err := d.Decode(&orders); err != nil {
				return fmt.Errorf("the tokens to import: not a JSON array of them: %w", err)
			}
			if len(orders) == 0 {
				return errors.New("the tokens to import: there are none")
			}
			return secretOutput(cmd, out, func(w io.Writer) error {
				return f.with(cmd, func(ctx context.Context, tokens *tokenstore.Issuer) error {
					made, err := tokens.Import(ctx, actor(), orders)
					if err != nil {
						return err
					}
					views := make([]tokenstore.View, len(made))
					for i := range made {
						views[i] = made[i].View(time.Now()).WithSecret(made[i].Secret)
					}
					return printJSON(w, views)
				})
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&file, "file", "", "the JSON array, a `FILE`; - for standard input")
	cmd.Flags().StringVar(&out, "out", "", "write what would be printed to a new `FILE` that only you can read")
	_ = cmd.MarkFlagRequired("file") // the flag was defined above
	return cmd
}
