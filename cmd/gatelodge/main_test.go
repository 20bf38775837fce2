package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

// TestMain lets the scripts run the real command as a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"gatelodge": func() { os.Exit(Main()) },
	})
}

// TestScripts runs testdata/script/*.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": scriptStatus,
		},
	})
}

// scriptStatus is "status N command [args...]": the command must end with
// exactly that exit status.
func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command [args...]")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var coded interface{ ExitCode() int }
		if !errors.As(err, &coded) {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = strconv.Itoa(coded.ExitCode())
	}
	if got != args[0] {
		ts.Fatalf("%s: exit status %s, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

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
