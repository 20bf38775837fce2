package authz

import (
	"fmt"
	"strings"
)

// readWord sets v to the position of text in words: how the settings that are
// one word of a few are read.
func readWord[T ~uint8](v *T, words []string, text []byte) error {
	for i, w := range words {
		if w == string(text) {
			*v = T(i)
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", text, strings.Join(words, ", "))
}
