package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/dev/parts"
)

// results are all comparisons of a run, by stage.
type results struct {
	options *options
	stages  []stage
	by      map[string][]*comparison
	flooded *flooded // nil: that was not asked for
}

// markdown is the whole report.
func (r *results) markdown() string {
	var b strings.Builder
	for _, s := range r.stages {
		if list := r.by[s.name]; len(list) > 0 {
			fmt.Fprintf(&b, "## %s\n\n%s\n%s\n", s.title, s.about, s.table(list))
		}
	}
	if r.flooded != nil {
		b.WriteString(r.flooded.markdown())
	}
	return b.String()
}

// write keeps the report in internal/bench/RESULTS.md, and the short table in
// README.md, if it has a place for it.
func (r *results) write(ctx context.Context) error {
	root, err := parts.Root()
	if err != nil {
		return err
	}
	file := filepath.Join(root, "internal", "bench", "RESULTS.md")
	text := "# What a check costs\n\nWritten by `make bench`; do not edit.\n\n" + r.conditions(ctx, root) + "\n" + r.markdown()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	readme := filepath.Join(root, "README.md")
	old, err := os.ReadFile(readme)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(readme, between(old, r.summary()), 0o644)
}

// The marks around the table in README.md.
const (
	tableBegins = "<!-- make bench writes this table -->\n"
	tableEnds   = "<!-- end of the table -->\n"
)

// between puts a table between the marks of text, or leaves text as it is where
// it has none.
func between(text []byte, table string) []byte {
	before, rest, ok := bytes.Cut(text, []byte(tableBegins))
	_, after, closed := bytes.Cut(rest, []byte(tableEnds))
	if !ok || !closed {
		return text
	}
	return bytes.Join([][]byte{before, []byte(tableBegins), []byte(table), []byte(tableEnds), after}, nil)
}

// summary is a row for each workload: ratios to the no-op alone, on the usual
// transport and on the lean one.
func (r *results) summary() string {
	t := table{"requests with", "server CPU", "CPU with Envoy", "memory", "lean: server CPU", "lean: CPU with Envoy"}.head()
	for _, c := range r.by["direct"] {
		row := []string{c.workload.name}
		for _, name := range []string{gatelodgeName, leanName} {
			s := c.of(name)
			mid, _, _ := c.ratio(s, serverCPU)
			row = append(row, fmt.Sprintf("%.2f", mid), r.withEnvoy(c.workload, name))
			if name == gatelodgeName {
				row = append(row, megabytes(s.memory)+" MB")
			}
		}
		t.row(row...)
	}
	return t.String()
}

// withEnvoy is the ratio of a server's CPU and Envoy's, where that was measured.
func (r *results) withEnvoy(w *workload, name string) string {
	for _, c := range r.by["envoy"] {
		if c.workload == w {
			total, _, _ := c.ratio(c.of(name), totalCPU)
			return fmt.Sprintf("%.2f", total)
		}
	}
	return "–"
}

// conditions say when and on what it was measured.
func (r *results) conditions(ctx context.Context, root string) string {
	commit := "not known"
	if out, err := exec.CommandContext(ctx, "git", "-C", root, "describe", "--always", "--dirty", "--exclude=*").Output(); err == nil {
		commit = strings.TrimSpace(string(out))
	}
	envoy := "not known"
	for _, p := range parts.Table() {
		if p.Name == "envoy" {
			envoy = p.Version
		}
	}
	t := table{"", ""}.head()
	t.row("date", time.Now().UTC().Format(time.DateOnly))
	t.row("commit", commit)
	t.row("machine", fmt.Sprintf("%s, %d cores, %s", processor(), runtime.NumCPU(), load1()))
	t.row("software", fmt.Sprintf("%s, Envoy %s with one worker thread, %s/%s", runtime.Version(), envoy, runtime.GOOS, runtime.GOARCH))
	t.row("rounds", fmt.Sprintf("%d of %d checks, the servers taking turns %d times in each; medians of the rounds", r.options.rounds, r.options.checks, turns))
	return t.String()
}

// processor names the CPU as the kernel does.
func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, _ := strings.Cut(string(b), "model name")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimLeft(line, "\t :")
}

// load1 tells how busy the machine was otherwise: ratios bear that, figures in
// microseconds do not.
func load1() string {
	b, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(b), " ")
	return "load " + first + " at the end"
}
