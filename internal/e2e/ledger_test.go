package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// A ledger is what a client was told of tokens: what it holds must be so,
// whatever happened to the server meanwhile.
type ledger struct {
	mu      sync.Mutex
	entries []*entry
	refused []string // names of tokens that, we were told, were not made
	serial  int

	acknowledged atomic.Int64 // changes
}

// An entry is one token, as far as its client knows.
type entry struct {
	name, id string
	secret   string   // acknowledged last
	dead     []string // secrets that were acknowledged to be over
	changes  int      // acknowledged, each with an audit record
	revoked  bool
	over     bool      // rotated, but the answer with the new secret was lost
	open     operation // asked for, and no answer came
	touched  int       // the round in which it last changed
}

type operation string

const (
	creating operation = "create"
	rotating operation = "rotate"
	revoking operation = "revoke"
)

func (l *ledger) begin(round int) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serial++
	e := &entry{name: fmt.Sprintf("token-%06d", l.serial), open: creating, touched: round}
	l.entries = append(l.entries, e)
	return e
}

func (e *entry) made(id, token string) { e.id, e.secret, e.open, e.changes = id, token, "", 1 }

// forget drops an entry that came to nothing; refused: we were told so.
func (l *ledger) forget(e *entry, refused bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.entries {
		if other == e {
			l.entries = append(l.entries[:i], l.entries[i+1:]...)
			break
		}
	}
	if refused {
		l.refused = append(l.refused, e.name)
	}
}

// clerk is a client of the admin API that keeps a ledger.
type clerk struct {
	*ledger
	url    string
	client http.Client
	user   string
	live   []*entry // its own: nobody else changes those
}

func (l *ledger) clerk(admin, user string) *clerk {
	return &clerk{ledger: l, url: "http://" + admin + "/api/v1/", client: http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}, user: user}
}

// errOpen: no answer came, or one that leaves it open.
type errOpen struct{ error }

// post sends a change and returns what the server made of it.
func (c *clerk) post(path, body string) (made struct{ ID, Token, Status string }, err error) {
	req, err := http.NewRequest(http.MethodPost, c.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return made, err
	}
	req.Header.Set("Authorization", "Bearer "+adminSecret)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return made, errOpen{err}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return made, errOpen{err}
	case resp.StatusCode == http.StatusServiceUnavailable && bytes.Contains(text, []byte("nothing was changed")):
		return made, fmt.Errorf("%s: %s", resp.Status, text)
	case resp.StatusCode >= 300:
		return made, errOpen{fmt.Errorf("%s: %s", resp.Status, text)}
	}
	if err := json.Unmarshal(text, &made); err != nil {
		return made, errOpen{err}
	}
	c.acknowledged.Add(1)
	return made, nil
}

// work changes tokens at random until ctx ends or an answer does not come.
func (c *clerk) work(ctx context.Context, round int) {
	for ctx.Err() == nil {
		at := -1
		if len(c.live) > 0 {
			at = rand.IntN(len(c.live))
		}
		var err error
		switch dice := rand.IntN(10); {
		case at < 0 || len(c.live) < 20 && dice < 4:
			err = c.create(round)
		case dice < 7:
			err = c.rotate(round, at)
		default:
			err = c.revoke(round, at)
		}
		if _, open := err.(errOpen); open {
			return
		}
	}
}

func (c *clerk) create(round int) error {
	e := c.begin(round)
	made, err := c.post("tokens", fmt.Sprintf(`{"user": %q, "name": %q}`, c.user, e.name))
	switch err.(type) {
	case nil:
		e.made(made.ID, made.Token)
		c.live = append(c.live, e)
	case errOpen:
	default:
		c.forget(e, true)
	}
	return err
}

func (c *clerk) rotate(round, at int) error {
	e := c.live[at]
	e.open, e.touched = rotating, round
	made, err := c.post("tokens/"+e.id+"/rotate", `{"overlap": "0s"}`)
	switch err.(type) {
	case nil:
		e.dead, e.secret, e.open = append(e.dead, e.secret), made.Token, ""
		e.changes++
	case errOpen:
		c.drop(at)
	default:
		e.open = ""
	}
	return err
}

func (c *clerk) revoke(round, at int) error {
	e := c.live[at]
	e.open, e.touched = revoking, round
	_, err := c.post("tokens/"+e.id+"/revoke", "")
	switch err.(type) {
	case nil:
		e.revoked, e.open = true, ""
		e.changes++
		c.drop(at)
	case errOpen:
		c.drop(at)
	default:
		e.open = ""
	}
	return err
}

func (c *clerk) drop(at int) { c.live = append(c.live[:at], c.live[at+1:]...) }

// asker asks a server about credentials, as Envoy does.
type asker struct {
	conn   *grpc.ClientConn
	client authv3.AuthorizationClient
}

func newAsker(t testing.TB, address string) *asker {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &asker{conn, authv3.NewAuthorizationClient(conn)}
}

// ask returns the status that a token of the API is answered: 200 is let
// through, 0 no answer.
func (a *asker) ask(ctx context.Context, token string) int {
	m, err := a.client.Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Path: "/issues", Host: "api.example.test", Headers: map[string]string{"authorization": "Bearer " + token},
		}},
	}})
	switch {
	case err != nil:
		return 0
	case m.GetOkResponse() != nil:
		return http.StatusOK
	}
	return int(m.GetDeniedResponse().GetStatus().GetCode())
}
