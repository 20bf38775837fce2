package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/config"
)

// TestPagesUseTheCommandLine: every gatelodge command that a page or a help text
// shows is one, with flags that there are, and in the examples' pages with files
// and providers that there are.
func TestPagesUseTheCommandLine(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../examples/*/README.md")
	if err != nil || len(pages) < 14 {
		t.Fatalf("found %d pages: %v", len(pages), err)
	}
	total := 0
	for _, page := range append(pages, "../../README.md", "../../.github/CONTRIBUTING.md") {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		folder := ""
		if strings.Contains(page, "/examples/") {
			folder = filepath.Dir(page)
		}
		found := shown(string(b))
		total += len(found)
		for _, line := range found {
			if err := isCommand(line, folder); err != nil {
				t.Errorf("%s: %s: %v", page, line, err)
			}
		}
	}
	if total < 100 {
		t.Errorf("only %d commands were found", total)
	}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, line := range commandsIn(cmd.Example) {
			if err := isCommand(line, ""); err != nil {
				t.Errorf("%s --help: %s: %v", cmd.CommandPath(), line, err)
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
}

// TestWrongPagesAreSeen: the test above can fail.
func TestWrongPagesAreSeen(t *testing.T) {
	t.Parallel()
	const folder = "../../examples/github"
	for line, want := range map[string]string{
		"gatelodge verify --config config.yaml":                        "no command",
		"gatelodge test --config config.yaml --loud":                   "unknown flag",
		"gatelodge test --path /":                                      "required flag",
		"gatelodge test --config other.yaml":                           "other.yaml",
		"gatelodge check-config other.yaml":                            "other.yaml",
		"gatelodge attributes --config config.yaml --provider sso":     "no provider",
		"gatelodge snippet --config config.yaml":                       "accepts 1 arg",
		"gatelodge login --config config.yaml --provider github again": "unknown command",
	} {
		if err := isCommand(line, folder); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	got := shown("Do `gatelodge version`.\n\n    gatelodge report --audit a &\n\n```sh\nexport A=$(gatelodge login --config a \\\n  --provider b) # gatelodge x\nx | gatelodge test --path '/a|b' > f &\n```\n")
	if want := []string{"gatelodge version", "gatelodge report --audit a", "gatelodge login --config a --provider b", "gatelodge test --path '/a|b'"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

var (
	fenced = regexp.MustCompile("(?ms)^ *```(\\w*)\n(.*?)^ *```$")
	inline = regexp.MustCompile("`(gatelodge [^`\n]+)`")
	moved  = regexp.MustCompile("(?m)^    (gatelodge .*)$") // a block without a fence
)

// shown returns the commands of a page: those of its fenced blocks, and those
// that stand in its text.
func shown(page string) (list []string) {
	text := fenced.ReplaceAllString(page, "")
	for _, m := range inline.FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	for _, m := range moved.FindAllStringSubmatch(text, -1) {
		list = append(list, commandsIn(m[1])...)
	}
	for _, m := range fenced.FindAllStringSubmatch(page, -1) {
		if m[1] != "yaml" {
			list = append(list, commandsIn(m[2])...)
		}
	}
	return list
}

// commandsIn returns the gatelodge commands of a shell script.
func commandsIn(script string) (list []string) {
	script = strings.ReplaceAll(script, "\\\n", " ")
	for line := range strings.Lines(script) {
		for _, part := range apart(line) {
			if words := strings.Fields(part); len(words) > 1 && words[0] == "gatelodge" {
				list = append(list, strings.Join(words, " "))
			}
		}
	}
	return list
}

// apart takes a line of shell apart into its commands: at pipes, redirections,
// command substitutions and the comment, but not in quotes. A word that nothing
// but two spaces part from more is the last: in help texts, words follow.
func apart(line string) (parts []string) {
	var part strings.Builder
	var quote rune
	for i, r := range line {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case r == '#' && (i == 0 || line[i-1] == ' '):
			return append(parts, part.String())
		case strings.ContainsRune("|&;()<>\n", r):
			parts = append(parts, part.String())
			part.Reset()
			continue
		}
		part.WriteRune(r)
	}
	return append(parts, part.String())
}

// isCommand makes sure that a line is a command of ours. folder is where it is
// run; empty: its files are not looked for.
func isCommand(line, folder string) error {
	cmd, rest, err := newRoot().Find(wordsOf(line)[1:])
	if err != nil {
		return err
	}
	if !cmd.HasParent() {
		return fmt.Errorf("there is no command %q", wordsOf(line)[1])
	}
	if !strings.Contains(line, " --") && (cmd.HasSubCommands() || len(rest) == 0) {
		return nil // it is only named
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	args := cmd.Flags().Args()
	if err := errors.Join(cmd.ValidateArgs(args), cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups()); err != nil {
		return err
	}
	if folder == "" {
		return nil
	}
	file := ""
	if f := cmd.Flags().Lookup("config"); f != nil {
		file = f.Value.String()
	}
	if cmd.Name() == "check-config" && len(args) > 0 {
		file = args[0]
	}
	if file == "" {
		return nil
	}
	return hasProvider(cmd, filepath.Join(folder, file))
}

// hasProvider makes sure that a configuration is there, and has the provider
// that a command names.
func hasProvider(cmd *cobra.Command, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	f := cmd.Flags().Lookup("provider")
	if f == nil {
		return nil
	}
	c, _, err := config.Parse(file, text, func(string) (string, bool) { return "any", true })
	if err != nil {
		return err
	}
	_, err = findProvider(c, f.Value.String())
	return err
}

// wordsOf splits a command into words as a shell does, as far as the pages need.
func wordsOf(line string) (words []string) {
	for _, m := range regexp.MustCompile(`'([^']*)'|(\S+)`).FindAllStringSubmatch(line, -1) {
		words = append(words, m[1]+m[2])
	}
	return words
}
