package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts run the real command as a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"gatelodge": func() { os.Exit(Main()) },
		"sign-in":   signInAsBrowser,
		"curl":      curlForPages,
	})
}

// TestScripts runs testdata/script/*.txtar. Beside testscript's own commands
// the scripts have status, await and fetch.
func TestScripts(t *testing.T) { runScripts(t, "testdata/script", nil) }

func runScripts(t *testing.T, dir string, setup func(*testscript.Env) error) {
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		Setup:               setup,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": scriptStatus,
			"await":  scriptAwait,
			"fetch":  scriptFetch,
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

// awaitFor bounds how long a script waits for anything.
const awaitFor = 30 * time.Second

// scriptAwait is "await FILE REGEXP [VARIABLE]": it waits until the file holds
// a match, and sets the variable to the match's first group.
func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: await FILE REGEXP [VARIABLE]")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	path := ts.MkAbs(args[0])
	deadline := time.After(awaitFor)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(path)
		if err == nil {
			if match := pattern.FindSubmatch(text); match != nil {
				if len(args) == 3 {
					ts.Setenv(args[2], string(match[1]))
				}
				return
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("%s never matched %s; it holds:\n%s", args[0], args[1], text)
		}
	}
}

// scriptFetch is "fetch STATUS URL [HEADER: VALUE]...": a GET must be answered
// with the status; the body becomes the script's stdout.
func scriptFetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fetch STATUS URL [HEADER: VALUE]...")
	}
	req, err := http.NewRequest(http.MethodGet, args[1], nil)
	ts.Check(err)
	for _, line := range args[2:] {
		name, value, _ := strings.Cut(line, ":")
		req.Header.Add(name, strings.TrimSpace(value))
	}
	client := http.Client{Timeout: awaitFor}
	res, err := client.Do(req)
	ts.Check(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	ts.Check(err)
	if got := strconv.Itoa(res.StatusCode); got != args[0] {
		ts.Fatalf("%s: status %s, want %s:\n%s", args[1], got, args[0], body)
	}
	_, err = ts.Stdout().Write(body)
	ts.Check(err)
}
