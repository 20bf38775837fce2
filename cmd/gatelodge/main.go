package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(Main()) }

// Main runs the program on the process's own arguments and streams and returns
// its exit status. An interrupt or SIGTERM ends the running command in order;
// a second one ends the process.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// commands is the table of subcommands, in the order that help shows them.
func commands() []*cobra.Command {
	return []*cobra.Command{
		newServe(),
		newCheckConfig(),
		newDemo(),
		newTest(),
		newReport(),
		newAttributes(),
		newLogin(),
		newSnippet(),
		newToken(),
		newVersion(),
		newCompletion(),
	}
}

// The exit statuses, the same for every command.
const (
	exitYes       = 0 // it worked, it is allowed, it is valid
	exitNo        = 1 // it is denied, refused, not found
	exitMisuse    = 2 // wrong use or wrong configuration
	exitUndecided = 3 // it could not be told: a provider or a server cannot be reached
)

// exitError ends a command with a status of its own. A nil err ends it without
// a word: the command has said all there is to say.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// no ends a command with status 1; a nil err does so in silence.
func no(err error) error { return &exitError{exitNo, err} }

// undecided ends a command with status 3; a nil err does so in silence.
func undecided(err error) error { return &exitError{exitUndecided, err} }

// run executes one command line and returns its exit status. Results go to
// stdout, everything meant for people to stderr. An error without a status of
// its own is wrong use, as every error of the command line's parser is.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return report(root.ExecuteContext(ctx), stderr)
}

// report prints what is to be said of an error and returns its exit status.
func report(err error, stderr io.Writer) int {
	if err == nil {
		return exitYes
	}
	code := exitMisuse
	var status *exitError
	if errors.As(err, &status) {
		if code = status.code; status.err == nil {
			return code
		}
	}
	_, _ = fmt.Fprintf(stderr, "gatelodge: %s\n", withoutTokens(err.Error()))
	return code
}

// Help shows the commands in the table's order. It is a setting of the whole
// process, and is made once.
func init() { cobra.EnableCommandSorting = false }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "gatelodge",
		Short: "Tells Envoy who is calling",
		Long: `Gatelodge is an external authorization server for Envoy and Istio. It is asked
about every request, finds out who is calling from an OAuth 2.0 or OpenID Connect
token, an API token or a key, and answers "let through, the user is alice" or 401.

Exit status of every command: 0 yes, 1 no (denied, not found), 2 wrong use or
configuration, 3 could not be decided (a provider cannot be reached).
Secrets are read from standard input, a file or the environment, never from
arguments.`,
		Example: `  gatelodge demo                                          # the whole picture on this machine
  gatelodge check-config gatelodge.yaml                   # every fault of a configuration at once
  gatelodge login --config gatelodge.yaml --provider sso  # a token of a provider, to try it with
  gatelodge test --config gatelodge.yaml                  # what is decided on it, and why
  gatelodge serve --config gatelodge.yaml                 # the server`,
		Args:          noSubcommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true, // run prints them, once
		SilenceUsage:  true, // an error is a line, not a page
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())
	})
	root.AddCommand(commands()...)
	hint(root)
	return root
}

// hint adds to errors about what a command was given where its help is.
func hint(cmd *cobra.Command) {
	told := func(cmd *cobra.Command, err error) error {
		if err == nil {
			return nil
		}
		return fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())
	}
	if check := cmd.Args; check != nil && !cmd.HasSubCommands() {
		cmd.Args = func(cmd *cobra.Command, args []string) error { return told(cmd, check(cmd, args)) }
		cmd.PreRunE = func(cmd *cobra.Command, _ []string) error { return told(cmd, cmd.ValidateRequiredFlags()) }
	}
	for _, sub := range cmd.Commands() {
		hint(sub)
	}
}

// noSubcommand refuses words that name no command, so that a typing mistake is
// wrong use and not a page of help with status 0.
func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("there is no command %q; see '%s --help'", args[0], cmd.CommandPath())
}
