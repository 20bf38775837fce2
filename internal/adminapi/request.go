package adminapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// request is one that somebody has been let through with.
type request struct {
	*http.Request
	who    *caller
	tokens *tokenstore.Issuer
	query  map[string]string
}

// maxBody bounds a body in bytes.
const maxBody = 4 << 20

// readBody returns the whole body, which must be of a media type.
func readBody(w http.ResponseWriter, r *http.Request, mediaType string, otherwise error) ([]byte, error) {
	got, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || got != mediaType || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, otherwise
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, errTooLarge
	case err != nil:
		return nil, bad("the body cannot be read")
	}
	return text, nil
}

// readJSON takes the body, one JSON value, into to: a pointer to a struct, or
// to a list of them. Members that are not known, of another case, there twice,
// null or empty are refused: what was meant by them would be forgotten.
func readJSON(w http.ResponseWriter, r *http.Request, to any) error {
	text, err := readBody(w, r, "application/json", errNotJSON)
	switch {
	case err != nil:
		return err
	case !utf8.Valid(text):
		return bad("the body is not UTF-8 text")
	}
	t := reflect.TypeOf(to).Elem()
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if err := strict(d, membersOf(t)); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return bad("the body goes on behind its JSON value")
	}
	if err := json.Unmarshal(text, to); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return bad(cmp.Or(wrong.Field, "the body") + ": is of another type; see " + Root + "openapi.json")
		}
		return bad("the body is not the JSON that this takes")
	}
	return nil
}

// membersOf returns the names of a struct's members in JSON.
func membersOf(t reflect.Type) map[string]bool {
	known := map[string]bool{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		known[name] = true
	}
	return known
}

// maxDepth is more than any body of ours needs.
const maxDepth = 4

// strict goes through one value and refuses what the decoder would let pass.
func strict(d *json.Decoder, known map[string]bool) error { return strictAt(d, known, 0) }

func strictAt(d *json.Decoder, known map[string]bool, depth int) error {
	token, err := d.Token()
	switch {
	case err != nil:
		return bad("the body is not JSON")
	case token == nil, token == "":
		return bad("null and empty texts are not taken; leave the member out")
	case depth > maxDepth:
		return bad("the body is nested too deeply")
	}
	seen := map[string]bool{}
	switch token {
	case json.Delim('['):
		for d.More() {
			if err := strictAt(d, known, depth+1); err != nil {
				return err
			}
		}
	case json.Delim('{'):
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return bad("the body is not JSON")
			}
			member, _ := name.(string) // the decoder takes no other
			if !known[member] || seen[member] {
				return bad("a member is not known, or there twice; known are: " + strings.Join(slices.Sorted(maps.Keys(known)), ", "))
			}
			seen[member] = true
			if err := strictAt(d, known, depth+1); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	if _, err := d.Token(); err != nil {
		return bad("the body is not JSON")
	}
	return nil
}

// query returns the parameters of a request, which must be among the known
// ones, and there once. Empty values are refused: they would mean everything.
func query(r *http.Request, known ...string) (map[string]string, error) {
	values := map[string]string{}
	given, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, bad("the query cannot be read")
	}
	for name, list := range given {
		switch {
		case !slices.Contains(known, name):
			return nil, bad("there is a query parameter that is not known; known are: " + strings.Join(known, ", "))
		case len(list) != 1 || list[0] == "":
			return nil, bad(name + ": is to be there once, and not empty")
		}
		values[name] = list[0]
	}
	return values, nil
}
