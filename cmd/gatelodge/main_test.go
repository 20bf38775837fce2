package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestEveryCommandExplainsItself(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		if cmd.Short == "" || cmd.Long == "" || cmd.Example == "" {
			t.Errorf("%s: Short, Long and Example must all be there", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
}

func TestExitStatus(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want int
		said string
	}{
		"plain":     {errors.New("wrong"), exitMisuse, "gatelodge: wrong\n"},
		"no":        {no(errors.New("denied")), exitNo, "gatelodge: denied\n"},
		"silent":    {no(nil), exitNo, ""},
		"undecided": {undecided(errors.New("down")), exitUndecided, "gatelodge: down\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if got := report(tc.err, &stderr); got != tc.want || stderr.String() != tc.said {
				t.Errorf("got %d %q, want %d %q", got, stderr.String(), tc.want, tc.said)
			}
		})
	}
}

func TestRunUsesItsStreams(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(context.Background(), []string{"version"}, nil, &stdout, &stderr); code != exitYes {
		t.Fatalf("exit status %d: %s", code, stderr.String())
	}
	if !strings.HasPrefix(stdout.String(), "gatelodge ") || stderr.Len() > 0 {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
}
