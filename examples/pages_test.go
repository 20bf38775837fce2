package examples_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	// The types that the pages show.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/providers"
)

// TestEveryTypeIsKnown: each has a row in the README, and where the row leads to
// a page, the page shows how to get from nothing to a 200.
func TestEveryTypeIsKnown(t *testing.T) {
	t.Parallel()
	readme := read(t, "../README.md")
	pages := 0
	for _, name := range append(providers.Types(), "api-tokens") {
		switch {
		case strings.Contains(readme, "](examples/"+name+") | "):
			pages++
			checkPage(t, name)
		case !strings.Contains(readme, "\n| `"+name+"` | "):
			t.Errorf("README.md has no row for %s", name)
		}
	}
	if pages < 12 {
		t.Errorf("the rows lead to %d pages alone", pages)
	}
}

func checkPage(t *testing.T, name string) {
	t.Helper()
	page := read(t, name+"/README.md")
	wanted := []string{
		"gatelodge check-config ", "gatelodge test ", "gatelodge serve ", "gatelodge snippet envoy ",
		"/rest/api/content/ ", "# 200", "# 401", "# deny (401)", "**A revoked token**", "## Good to know",
	}
	if name != "api-tokens" {
		wanted = append(wanted, "gatelodge attributes ", "**The stable key**", "| setting | where it stands |")
	}
	for _, must := range wanted {
		if !strings.Contains(page, must) {
			t.Errorf("%s/README.md does not have %q", name, must)
		}
	}
	if lines := strings.Count(page, "\n"); lines > 125 {
		t.Errorf("%s/README.md has %d lines: who reads all that?", name, lines)
	}
}

// TestPagesAreTrue reads every piece of configuration that the pages show: one
// that has a whole provider stands in a file beside the page, to the letter, and
// one that is a part is taken beside what that file says.
func TestPagesAreTrue(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("*/README.md")
	if err != nil || len(pages) < 14 {
		t.Fatalf("found %d pages: %v", len(pages), err)
	}
	for _, page := range pages {
		folder := filepath.Dir(page)
		files, err := filepath.Glob(folder + "/config*.yaml")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no configuration beside it: %v", page, err)
		}
		for _, block := range blocks(read(t, page), "yaml") {
			if strings.Contains(block, `"@type"`) {
				if err := isEnvoys(block); err != nil {
					t.Errorf("%s: %v\nin\n%s", page, err, block)
				}
				continue
			}
			if whole.MatchString(block) {
				if !standsIn(t, block, files) {
					t.Errorf("%s shows what is in none of %v:\n%s", page, files, block)
				}
				continue
			}
			if err := partIsTaken(t, block, files[0]); err != nil {
				t.Errorf("%s: %v\nin\n%s", page, err, block)
			}
		}
	}
}

// isEnvoys makes sure that every typed part of a piece of Envoy's configuration is
// one, without a field that it does not have.
func isEnvoys(block string) error {
	var all any
	if err := yaml.Unmarshal([]byte(block), &all); err != nil {
		return err
	}
	return eachTyped(all, func(part map[string]any) error {
		text, err := json.Marshal(part)
		if err != nil {
			return err
		}
		return protojson.Unmarshal(text, &anypb.Any{})
	})
}

// eachTyped calls check with all that names its type.
func eachTyped(v any, check func(map[string]any) error) (err error) {
	switch v := v.(type) {
	case map[string]any:
		if _, typed := v["@type"]; typed {
			return check(v)
		}
		for _, part := range v {
			err = errors.Join(err, eachTyped(part, check))
		}
	case []any:
		for _, part := range v {
			err = errors.Join(err, eachTyped(part, check))
		}
	}
	return err
}

// TestWrongEnvoyIsSeen: the check of Envoy's pieces can fail.
func TestWrongEnvoyIsSeen(t *testing.T) {
	t.Parallel()
	const kind = `{"@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute, `
	if err := isEnvoys(kind + "check_settings: {context_extensions: {app: billing}}}"); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{kind + "check_setting: {}}", `[{a: {"@type": type.googleapis.com/envoy.Nothing}}]`} {
		if isEnvoys(wrong) == nil {
			t.Errorf("taken for good: %s", wrong)
		}
	}
}

// whole is what a piece of configuration has that does not need another.
var whole = regexp.MustCompile(`(?m)^(providers|rules|api_tokens):`)

// blocks returns the fenced blocks of a language, without what they are indented
// by as parts of a list.
func blocks(page, language string) (list []string) {
	fence := regexp.MustCompile("(?ms)^( *)```" + language + "\n(.*?)^ *```$")
	for _, m := range fence.FindAllStringSubmatch(page, -1) {
		var b strings.Builder
		for line := range strings.Lines(m[2]) {
			b.WriteString(strings.TrimPrefix(line, m[1]))
		}
		list = append(list, b.String())
	}
	return list
}

func standsIn(t *testing.T, block string, files []string) bool {
	t.Helper()
	for _, file := range files {
		if strings.Contains(read(t, file), block) {
			return true
		}
	}
	return false
}

// partIsTaken puts settings of a provider in the place of those that a file has,
// and lets the file be checked.
func partIsTaken(t *testing.T, block, file string) error {
	t.Helper()
	var part, all map[string]any
	if err := yaml.Unmarshal([]byte(block), &part); err != nil {
		return err
	}
	if err := yaml.Unmarshal([]byte(read(t, file)), &all); err != nil {
		t.Fatal(err)
	}
	provider := all["providers"].([]any)[0].(map[string]any)
	maps.Copy(provider, part)
	text, err := yaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = config.Parse(file, text, variable)
	return err
}

// TestReadmeIsTrue: the configuration of the front page is one, and its Envoy
// filter has nothing that the complete example has not.
func TestReadmeIsTrue(t *testing.T) {
	t.Parallel()
	shown := blocks(read(t, "../README.md"), "yaml")
	if len(shown) != 2 {
		t.Fatalf("%d blocks, want the configuration and the filter", len(shown))
	}
	c, warnings, err := config.Parse("config.yaml", []byte(shown[0]), variable)
	if err != nil || len(warnings) > 0 || len(c.Providers) == 0 {
		t.Errorf("the configuration: %v %v", err, warnings)
	}
	var filter []any
	if err := yaml.Unmarshal([]byte(shown[1]), &filter); err != nil {
		t.Fatal(err)
	}
	var envoy any
	if err := yaml.Unmarshal([]byte(read(t, "envoy/envoy.yaml")), &envoy); err != nil {
		t.Fatal(err)
	}
	if len(filter) != 1 || !holds(envoy, filter[0]) {
		t.Errorf("the filter is not that of examples/envoy/envoy.yaml:\n%s", shown[1])
	}
}

// holds reports whether somewhere in v there is all that part has.
func holds(v, part any) bool {
	if covers(v, part) {
		return true
	}
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			if holds(e, part) {
				return true
			}
		}
	case []any:
		for _, e := range v {
			if holds(e, part) {
				return true
			}
		}
	}
	return false
}

func covers(v, part any) bool {
	p, ok := part.(map[string]any)
	if !ok {
		return v == part
	}
	m, ok := v.(map[string]any)
	for key, value := range p {
		if !ok || !covers(m[key], value) {
			return false
		}
	}
	return true
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)

// TestLinksLead: what a page links to is there.
func TestLinksLead(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../README.md", "../.github/CONTRIBUTING.md", "../.github/SECURITY.md") {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}
