package realtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// maxPages bounds how many pages a Person goes through to sign in.
const maxPages = 12

// A Person signs in at a provider's own pages, as with a browser without
// scripts: opens a page, fills in what it asks, presses its first button, and
// so on until a page asks nothing more.
type Person struct {
	// Answers are what is typed into fields, by their names. Fields that are
	// not in it keep what stands in them.
	Answers map[string]string
}

// SignsInAs returns a person who types a name and a password wherever asked.
func SignsInAs(user, password string) Person {
	return Person{Answers: map[string]string{"username": user, "login": user, "password": password}}
}

// Visit opens a page and goes on to the end. The last page must have status 200.
func (p Person) Visit(ctx context.Context, page string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Jar: jar, Timeout: 20 * time.Second}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return err
	}
	for range maxPages {
		at, form, err := open(client, req)
		if err != nil {
			return err
		}
		if form == nil {
			return nil
		}
		if req, err = p.fillIn(ctx, at, form); err != nil {
			return err
		}
	}
	return fmt.Errorf("signing in took more than %d pages, the last one %s", maxPages, req.URL.Path)
}

// open fetches a page and returns where it is and its first form, nil for none.
func open(client *http.Client, req *http.Request) (*url.URL, *html.Node, error) {
	res, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s answered %s: %s", res.Request.URL.Redacted(), res.Status, body)
	}
	doc, err := html.Parse(strings.NewReader(string(body)))
	if err != nil {
		return nil, nil, err
	}
	return res.Request.URL, find(doc, "form"), nil
}

// fillIn returns the request that the form's button makes.
func (p Person) fillIn(ctx context.Context, at *url.URL, form *html.Node) (*http.Request, error) {
	to, err := at.Parse(attribute(form, "action"))
	if err != nil {
		return nil, err
	}
	values := url.Values{}
	pressed := false
	for n := range form.Descendants() {
		kind, name := attribute(n, "type"), attribute(n, "name")
		button := n.Type == html.ElementNode && (n.Data == "button" || n.Data == "input" && kind == "submit")
		switch {
		case n.Type != html.ElementNode || n.Data != "input" && !button:
		case button && pressed, kind == "checkbox", kind == "radio":
		case button:
			pressed = true
			if name != "" {
				values.Set(name, attribute(n, "value"))
			}
		case name != "":
			value := attribute(n, "value")
			if answer, ok := p.Answers[name]; ok && kind != "hidden" {
				value = answer
			}
			values.Set(name, value)
		}
	}
	if !strings.EqualFold(attribute(form, "method"), "post") {
		return nil, errors.New("a form that is not posted")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), strings.NewReader(values.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", at.Scheme+"://"+at.Host)
	return req, nil
}

func find(root *html.Node, tag string) *html.Node {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == tag {
			return n
		}
	}
	return nil
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
