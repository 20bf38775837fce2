package providers

import (
	"fmt"
	"strconv"
	"strings"
)

// attribute looks up a path in the attributes of an answer: the name itself
// first, then a JSON pointer (/a/b, RFC 6901) or names and list positions
// joined by dots (realm_access.roles.0).
func attribute(attrs map[string]any, path string) (any, bool) {
	if v, ok := attrs[path]; ok {
		return v, true
	}
	var steps []string
	if pointer, ok := strings.CutPrefix(path, "/"); ok {
		steps = strings.Split(pointer, "/")
		unescape := strings.NewReplacer("~1", "/", "~0", "~")
		for i, s := range steps {
			steps[i] = unescape.Replace(s)
		}
	} else {
		steps = strings.Split(path, ".")
	}
	var v any = attrs
	for _, s := range steps {
		switch w := v.(type) {
		case map[string]any:
			next, ok := w[s]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(s)
			if err != nil || i < 0 || i >= len(w) || strconv.Itoa(i) != s {
				return nil, false
			}
			v = w[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// textAt returns the text at a name; "" where there is none.
func textAt(attrs map[string]any, name string) string {
	s, _ := attrs[name].(string)
	return s
}

// idText reads an id, which is written as a number or as text.
func idText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return ""
}

// textsAt returns the texts at a path: a list of text, or one text.
func textsAt(attrs map[string]any, path string) []string {
	v, _ := attribute(attrs, path)
	switch v := v.(type) {
	case string:
		if v != "" {
			return []string{v}
		}
	case []any:
		list := make([]string, 0, len(v))
		for _, e := range v {
			if s, ok := e.(string); ok && s != "" {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

// wordsAt returns the words of a text, or the texts of a list: the two forms
// of a scope.
func wordsAt(attrs map[string]any, name string) []string {
	if s, ok := attrs[name].(string); ok {
		return strings.Fields(s)
	}
	return textsAt(attrs, name)
}

// pathFault says what is wrong with an attribute path, or "".
func pathFault(path string) string {
	if strings.TrimSpace(path) != path || path == "" || len(path) > 256 {
		return fmt.Sprintf("%q is not an attribute path, as preferred_username or realm_access.roles.0", path)
	}
	return ""
}
