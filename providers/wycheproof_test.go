package providers

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// corpus finds a file of the shared test vectors: in $GATELODGE_CORPUS, or
// beside the repository. Where there are none the test does not run, and says
// so; with CI=true that is a failure.
func corpus(t *testing.T, name string) []byte {
	t.Helper()
	dirs := []string{os.Getenv("GATELODGE_CORPUS"), "../../shared/corpus"}
	for _, d := range dirs {
		if b, err := os.ReadFile(filepath.Join(d, name)); err == nil {
			return b
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("the test vectors %s are not there; set GATELODGE_CORPUS to their folder", name)
	}
	t.Skipf("NOT RUN: the test vectors %s are not there; set GATELODGE_CORPUS to their folder", name)
	return nil
}

// serialized is a token: compact text, or, where the vectors have the JSON
// form, that JSON as text.
type serialized string

func (s *serialized) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) != nil {
		text = string(b)
	}
	*s = serialized(text)
	return nil
}

type vectors struct {
	TestGroups []struct {
		Comment string
		Public  json.RawMessage
		Private json.RawMessage
		Tests   []struct {
			TcID    int
			Comment string
			JWS     serialized
			JWE     serialized
			Result  string
			Flags   []string
		}
	}
}

func readVectors(t *testing.T, name string) vectors {
	t.Helper()
	var v vectors
	if err := json.Unmarshal(corpus(t, filepath.Join("wycheproof", name)), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// accepts runs a token through the parser and the signature check, with the
// keys of a vector group as a provider would publish them.
func accepts(key json.RawMessage, token string) bool {
	set := []byte(`{"keys":[` + string(key) + `]}`)
	if strings.Contains(string(key), `"keys"`) {
		set = key
	}
	list, _, err := parseKeys(set)
	if err != nil {
		return false
	}
	parsed, err := parseToken(token)
	if err != nil {
		return false
	}
	k := &keys{byID: map[string]*publicKey{}, all: list}
	for _, key := range list {
		k.byID[key.id] = key
	}
	return slices.ContainsFunc(k.suiting(parsed), parsed.verify)
}

func TestWycheproof(t *testing.T) {
	for _, name := range []string{"json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json"} {
		agreed, refused := 0, 0
		for _, g := range readVectors(t, name).TestGroups {
			key := g.Public
			if key == nil {
				key = g.Private // of shared secrets there is no public half
			}
			for _, c := range g.Tests {
				token := string(c.JWS + c.JWE)
				got := accepts(key, token)
				switch {
				case got && c.Result != "valid":
					t.Errorf("%s %d (%s, %s): taken", name, c.TcID, g.Comment, c.Comment)
				case !got && c.Result == "valid" && strictBecause(key, token) == "":
					t.Errorf("%s %d (%s, %s): refused", name, c.TcID, g.Comment, c.Comment)
				case !got && c.Result == "valid":
					refused++
				default:
					agreed++
				}
			}
		}
		t.Logf("%s: %d agree, %d valid ones are refused on purpose", name, agreed, refused)
	}
}

// strictBecause says why a vector that is valid by the letter of the RFCs is
// refused on purpose, or "".
func strictBecause(key json.RawMessage, token string) string {
	t, err := parseToken(token)
	switch text := string(key); {
	case strings.Contains(text, `"oct"`):
		return "a shared secret: whoever can check can sign"
	case strings.Contains(text, `"ES521"`):
		return "the key's alg is no registered name"
	case strings.Count(token, ".") == 4:
		return "encrypted"
	case strings.Contains(token, ".."):
		return "an empty payload has no claims"
	case err == nil && strings.Contains(text, `"PS256"`) && t.algorithm != "PS256":
		return "the token's alg is not the key's"
	}
	return ""
}

func TestWycheproofEncryptedTokensAreRefused(t *testing.T) {
	for _, g := range readVectors(t, "json_web_encryption_test.json").TestGroups {
		for _, c := range g.Tests {
			if _, err := parseToken(string(c.JWE)); err == nil {
				t.Errorf("%d (%s): an encrypted token is taken for a signed one", c.TcID, c.Comment)
			}
		}
	}
}
