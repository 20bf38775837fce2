package shadow

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/telemetry"
)

// The record is written by the part that writes it for real.
func TestReport(t *testing.T) {
	var text bytes.Buffer
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	audit := telemetry.NewAudit(&text, 1, func() time.Time { return now })
	rule := &authz.Rule{Name: "rest"}
	refused := func(path string, reason authz.Reason, would authz.Outcome, id *authz.Identity) {
		now = now.Add(time.Second)
		q := authz.Request{Method: "GET", Path: path, Source: netip.MustParseAddr("10.1.2.3")}
		audit.Observe(&q, &authz.Decision{
			Outcome: authz.Allowed, Shadow: true, WouldBe: would, Reason: reason, Rule: rule, Recognised: id,
		}, time.Millisecond)
	}
	for i := range 3 {
		refused(fmt.Sprintf("/rest/api/content/%d?secret=1", 1000+i), authz.ReasonNoCredential, authz.Unauthenticated, nil)
	}
	refused("/rest/api/space/DOC", authz.ReasonGroupNotAllowed, authz.Forbidden, &authz.Identity{User: "bob", Client: "web"})
	audit.Observe(&authz.Request{Method: "GET", Path: "/ok"}, &authz.Decision{Outcome: authz.Allowed}, 0)
	audit.Close()
	text.WriteString("{\"level\":\"info\",\"msg\":\"serving\"}\nnot JSON\n")

	got, err := Read(&text)
	if err != nil {
		t.Fatal(err)
	}
	if got.Decisions != 5 || got.Refused != 4 || got.Skipped != 2 || len(got.Rows) != 2 {
		t.Fatalf("%+v", got)
	}
	first, second := got.Rows[0], got.Rows[1]
	if first.Count != 3 || first.Path != "/rest/api/content/{id}" || first.Caller != "unknown, from 10.1.2.3" ||
		first.Reason != "no_credential" || first.Status != "deny" || first.Rule != "rest" || first.ID == "" {
		t.Errorf("%+v", first)
	}
	if second.Count != 1 || second.Caller != "web for bob" || second.Path != "/rest/api/space/DOC" || second.Status != "forbidden" {
		t.Errorf("%+v", second)
	}
	if !first.Last.Equal(time.Date(2026, 5, 1, 0, 0, 3, 0, time.UTC)) {
		t.Errorf("last seen %v", first.Last)
	}
}

func TestReportOfSomethingElse(t *testing.T) {
	if _, err := Read(strings.NewReader(strings.Repeat("x", maxLine+1))); err == nil {
		t.Error("a line without an end is taken")
	}
	got, err := Read(strings.NewReader(""))
	if err != nil || got.Decisions != 0 || got.Rows == nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestGeneral(t *testing.T) {
	for path, want := range map[string]string{
		"/rest/api/2/issue/10023":                   "/rest/api/2/issue/{id}",
		"/u/0f8fad5b-d9cb-469f-a165-70867728950e/x": "/u/{id}/x",
		"/face/dead/beef":                           "/face/dead/beef",
		"":                                          "",
	} {
		if got := general(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}
