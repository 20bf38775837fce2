package telemetry

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

var (
	someRequest  = &authz.Request{Method: "GET", Host: "api.example.com", Path: "/rest/x?token=hunter2", Headers: []authz.Header{{Name: "authorization", Value: "Bearer hunter2"}}}
	someDecision = &authz.Decision{Outcome: authz.Allowed, Reason: authz.ReasonVerified, Provider: "sso", Identity: &authz.Identity{User: "alice", Client: "cli"}, Rule: &authz.Rule{Name: "rest"}}
)

func TestRecordIsOneParsableLine(t *testing.T) {
	var out bytes.Buffer
	a := NewAudit(&out, 1, time.Now)
	evil := &authz.Request{Method: "GET", Path: "/a\r\n{\"x\":1}\x1b[31m\xff\u2028\"\\", Host: "h\x00"}
	a.Observe(evil, &authz.Decision{Reason: authz.ReasonPanic, Detail: "a\nb"}, time.Millisecond)
	a.Observe(someRequest, someDecision, time.Millisecond)
	shadow := *someDecision
	shadow.Shadow, shadow.WouldBe = true, authz.Forbidden
	a.Observe(someRequest, &shadow, time.Millisecond)
	a.Close()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 3 || strings.Contains(out.String(), "hunter2") || strings.ContainsAny(out.String(), "\r\x1b\x00\u2028") {
		t.Fatalf("%q", lines)
	}
	var got map[string]any
	for i, l := range lines {
		if err := json.Unmarshal([]byte(l), &got); err != nil {
			t.Fatalf("line %d: %v", i, err)
		}
	}
	if got["user"] != "alice" || got["path"] != "/rest/x" || got["would_be"] != "forbidden" || got["rule"] != "rest" || got["micros"] != 1000.0 {
		t.Errorf("%v", got)
	}
}

func TestSampledOutAllowsCostNothing(t *testing.T) {
	var out bytes.Buffer
	a := NewAudit(&out, 0, time.Now)
	m := NewMetrics(func() State { return State{} })
	m.Observe(someRequest, someDecision, time.Microsecond)
	if n := testing.AllocsPerRun(1000, func() {
		a.Observe(someRequest, someDecision, time.Microsecond)
		m.Observe(someRequest, someDecision, time.Microsecond)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	a.Observe(someRequest, &authz.Decision{}, 0)
	a.Close()
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d records; the denial alone is wanted", n)
	}
}

type stuck struct{ release chan struct{} }

func (s stuck) Write(b []byte) (int, error) {
	<-s.release
	return len(b), nil
}

func TestAStuckWriterHoldsNobodyUp(t *testing.T) {
	s := stuck{make(chan struct{})}
	a := NewAudit(s, 1, time.Now)
	for range 2 * auditQueue { // some fit into the batch that cannot be written
		a.Observe(someRequest, someDecision, 0)
	}
	if a.Dropped() == 0 {
		t.Error("nothing was dropped")
	}
	close(s.release)
	a.Close()
}

// counting counts the records that come to it, and in how many pieces.
type counting struct{ writes, records int }

func (c *counting) Write(b []byte) (int, error) {
	c.writes++
	c.records += bytes.Count(b, []byte("\n"))
	return len(b), nil
}

func TestRecordsThatWaitAreWrittenTogether(t *testing.T) {
	var w counting
	s := stuck{make(chan struct{})}
	a := NewAudit(io.MultiWriter(s, &w), 1, time.Now)
	for range 1000 {
		a.Observe(someRequest, someDecision, 0)
	}
	close(s.release)
	a.Close()
	if w.records != 1000 || a.Dropped() != 0 || w.writes > 20 {
		t.Errorf("%d records in %d writes, %d dropped", w.records, w.writes, a.Dropped())
	}
}

// A record that comes alone is written at once. Of those that come faster than
// they are worth a write each, none is lost, and the end waits for nothing.
func TestRecordsThatComeFastAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w counting
		a := NewAudit(&w, 1, time.Now)
		a.Observe(someRequest, someDecision, 0)
		synctest.Wait()
		if w.records != 1 {
			t.Errorf("the first waits: %d written", w.records)
		}
		const records, apart = 1000, 100 * time.Microsecond
		for range records {
			time.Sleep(apart)
			a.Observe(someRequest, someDecision, 0)
		}
		began := time.Now()
		a.Close()
		if most := 2 + int(records*apart/auditPause); w.records != 1+records || w.writes > most || time.Since(began) > 0 {
			t.Errorf("%d records in %d writes, at most %d are wanted; the end took %v", w.records, w.writes, most, time.Since(began))
		}
	})
}

func TestAdmin(t *testing.T) {
	ready := Readiness{Providers: []ProviderReady{{Name: "sso", Misconfigured: true, Detail: "401 from introspection"}}}
	m := NewMetrics(func() State {
		return State{Providers: map[string]ProviderState{"sso": {Misconfigured: true}}, Enabled: true}
	})
	m.Observe(someRequest, someDecision, 5*time.Microsecond)
	a := NewAdmin(AdminOptions{Registry: m.Registry, Ready: func() Readiness { return ready }, Hosts: []string{"lodge.example.com"}})
	get := func(host, path string) (int, string) {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = host
		w := httptest.NewRecorder()
		a.server.Handler.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	if code, _ := get("127.0.0.1:9192", "/healthz"); code != 200 {
		t.Errorf("healthz: %d", code)
	}
	if code, body := get("localhost", "/readyz"); code != 503 || !strings.Contains(body, "401 from introspection") {
		t.Errorf("readyz: %d %s", code, body)
	}
	_, body := get("lodge.example.com", "/metrics")
	for _, want := range []string{
		`gatelodge_decisions_total{outcome="allow",provider="sso",reason="verified"} 1`,
		`gatelodge_decision_duration_seconds_bucket{le="8e-06"} 1`, `gatelodge_provider_misconfigured{provider="sso"} 1`, `gatelodge_enabled 1`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	for _, host := range []string{"evil.example", "127.0.0.1.nip.example", ""} {
		if code, _ := get(host, "/metrics"); code != http.StatusMisdirectedRequest {
			t.Errorf("host %q: %d", host, code)
		}
	}
}
