package realtest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatelodge/gatelodge/internal/dev/parts"
)

// Corpus returns a file of the collected test vectors, such as
// "wycheproof/json_web_signature_test.json". They are large and other people's
// work, so they lie beside the repository (../shared/corpus, or where
// GATELODGE_CORPUS says), not in it: a test without them is skipped and noted
// down, also in CI.
func Corpus(t testing.TB, name string) []byte {
	t.Helper()
	dir := os.Getenv("GATELODGE_CORPUS")
	if dir == "" {
		root, err := parts.Root()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(root, "..", "shared", "corpus")
	}
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		note(t, fmt.Errorf("test vectors are not there: %w", err))
	}
	return b
}
