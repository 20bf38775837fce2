package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/authz"
)

// maxSecret bounds a secret in bytes; longer tokens are refused unread.
const maxSecret = 64 << 10

// secretFlags say where a command reads a secret from. There is no flag for
// the secret itself: arguments are seen by everybody on the machine.
type secretFlags struct {
	name string // what it is, for messages: "token"
	file string
	env  string
}

// add defines --NAME-file and --NAME-env.
func (s *secretFlags) add(cmd *cobra.Command, name string) {
	s.name = strings.ReplaceAll(name, "-", " ")
	cmd.Flags().StringVar(&s.file, name+"-file", "", "read the "+s.name+" from a `FILE`")
	cmd.Flags().StringVar(&s.env, name+"-env", "", "read the "+s.name+" from the environment variable of this `NAME`")
	cmd.MarkFlagsMutuallyExclusive(name+"-file", name+"-env")
}

// given reports whether a flag says where the secret is.
func (s *secretFlags) given() bool { return s.file != "" || s.env != "" }

// read returns the secret: the file's or the variable's, else standard input's.
// White space around it is not part of it.
func (s *secretFlags) read(cmd *cobra.Command) (authz.Secret, error) {
	text, from, err := s.text(cmd)
	if err != nil {
		return authz.Secret{}, fmt.Errorf("reading the %s from %s: %w", s.name, from, err)
	}
	if len(text) > maxSecret {
		return authz.Secret{}, fmt.Errorf("reading the %s from %s: it is longer than %d bytes", s.name, from, maxSecret)
	}
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return authz.Secret{}, fmt.Errorf("reading the %s from %s: there is none", s.name, from)
	}
	return authz.NewSecret(string(text)), nil
}

func (s *secretFlags) text(cmd *cobra.Command) (text []byte, from string, err error) {
	switch {
	case s.env != "":
		value, ok := os.LookupEnv(s.env)
		if !ok {
			return nil, "$" + s.env, errors.New("it is not set")
		}
		return []byte(value), "$" + s.env, nil
	case s.file != "":
		f, err := os.Open(s.file)
		if err != nil {
			return nil, s.file, err
		}
		defer f.Close()
		text, err = readSecret(f)
		return text, s.file, err
	}
	in := cmd.InOrStdin()
	if isTerminal(in) {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "Paste the %s and end with Ctrl-D:\n", s.name)
	}
	text, err = readSecret(in)
	return text, "standard input", err
}

// readSecret reads one byte more than a secret may have, so that a longer one
// is seen to be longer.
func readSecret(r io.Reader) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, maxSecret+1))
}

func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// tokens are what API tokens and JWTs look like, and the most of one.
var tokens = regexp.MustCompile(`gl_[0-9A-Za-z]{9,}|eyJ[0-9A-Za-z_-]{9,}(?:\.[0-9A-Za-z_-]*)*`)

// withoutTokens takes tokens out of a message: many repeat an argument, and
// somebody may have given one where it does not belong.
func withoutTokens(message string) string { return tokens.ReplaceAllString(message, "[redacted]") }
