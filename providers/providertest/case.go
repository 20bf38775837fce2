package providertest

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// Case is one recorded situation: a token, what its provider answers about it,
// and what is to come of it. It is read from a txtar file, as
//
//	want: allowed alice client=app-1
//	settings: strict
//
//	Words about where the answers are from.
//	-- token --
//	gho_0123
//	-- POST /applications/app-1/token --
//	> Authorization: Basic $BASIC(app-1:app-secret)
//	> {"access_token":"$TOKEN"}
//	HTTP/1.1 200 OK
//	Content-Type: application/json
//
//	{"user":{"login":"alice"}}
//
// The token is a text, or (sections header and claims) is signed with the
// server's key. A line with > is what the request must have: a header, the whole
// body, or with "form " in front, values of a form. $TOKEN, $URL, $NOW, $NOW+60,
// $NOW-60 and $BASIC(id:secret) are filled in.
type Case struct {
	Name     string
	Want     Want
	Settings string // name of a variation of the settings
	Token    string

	exchanges  map[string]*exchange
	keyMembers map[string]any // added to the server's key
}

// Want is what is to come of a case.
type Want struct {
	Outcome string            // allowed, refused, misconfigured, throttled or unavailable
	Value   string            // the user, the reason, or how long to wait
	More    map[string]string // of the identity: client, subject, email, groups …
}

// ReadCase reads the case of a file, for the server that will play it.
func ReadCase(t testing.TB, file string, s *Server) *Case {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := &Case{Name: strings.TrimSuffix(filepath.Base(file), ".txtar"), exchanges: map[string]*exchange{}}
	filled := filler{now: time.Now(), url: s.URL}
	var header, claims map[string]any
	for line := range strings.Lines(string(archive.Comment)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "want":
			c.Want = readWant(value)
		case "settings":
			c.Settings = value
		case "key":
			c.keyMembers = object(t, file, filled.fill(value))
		}
	}
	for _, f := range archive.Files {
		switch f.Name {
		case "token":
			c.Token = strings.TrimSpace(filled.fill(string(f.Data)))
		case "header":
			header = object(t, file, filled.fill(string(f.Data)))
		case "claims":
			claims = object(t, file, filled.fill(string(f.Data)))
		}
	}
	if claims != nil {
		c.Token = s.Sign(header, claims)
	}
	filled.token = c.Token
	for _, f := range archive.Files {
		if strings.Contains(f.Name, " /") {
			c.exchanges[filled.fill(f.Name)] = readExchange(t, file, filled.fill(string(f.Data)))
		}
	}
	if c.Want.Outcome == "" || c.Token == "" {
		t.Fatalf("%s: no want, or no token", file)
	}
	return c
}

func readWant(line string) Want {
	words := strings.Fields(line)
	w := Want{Outcome: words[0], More: map[string]string{}}
	for _, word := range words[1:] {
		if name, value, ok := strings.Cut(word, "="); ok {
			w.More[name] = value
		} else {
			w.Value = word
		}
	}
	return w
}

func readExchange(t testing.TB, file, text string) *exchange {
	t.Helper()
	e := &exchange{header: map[string]string{}}
	for strings.HasPrefix(text, "> ") {
		line, rest, _ := strings.Cut(text[2:], "\n")
		text = rest
		name, value, isHeader := strings.Cut(line, ": ")
		switch form, isForm := strings.CutPrefix(line, "form "); {
		case isForm:
			var err error
			if e.form, err = url.ParseQuery(form); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		case isHeader && !strings.ContainsAny(name, `{" `):
			e.header[name] = value
		default:
			e.body = line
		}
	}
	if !strings.Contains(text, "\n\n") {
		text += "\n" // nothing but a head
	}
	r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		t.Fatalf("%s: a recorded answer: %v", file, err)
	}
	defer r.Body.Close()
	e.status, e.replied = r.StatusCode, r.Header
	if e.answers, err = io.ReadAll(r.Body); err != nil {
		t.Fatalf("%s: a recorded answer: %v", file, err)
	}
	return e
}

func object(t testing.TB, file, text string) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return m
}

// filler puts values in the place of $NAMES.
type filler struct {
	now        time.Time
	url, token string
}

var variable = regexp.MustCompile(`\$(URL|TOKEN|NOW(?:[+-]\d+)?|BASIC\([^)]*\))`)

func (f filler) fill(text string) string {
	return variable.ReplaceAllStringFunc(text, func(v string) string {
		switch v = v[1:]; {
		case v == "URL":
			return f.url
		case v == "TOKEN":
			return f.token
		case strings.HasPrefix(v, "BASIC("):
			return base64.StdEncoding.EncodeToString([]byte(strings.TrimSuffix(v[6:], ")")))
		}
		seconds, _ := strconv.Atoi(v[3:])
		return fmt.Sprint(f.now.Unix() + int64(seconds))
	})
}
