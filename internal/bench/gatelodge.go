package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// build makes the binary that is measured, from the tree as it is.
func build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "gatelodge")
	out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "github.com/gatelodge/gatelodge/cmd/gatelodge").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building gatelodge: %w\n%s", err, out)
	}
	return binary, nil
}

// configuration is a Gatelodge with everything switched on: two providers to
// choose from, rules in front of the one that matches, every identity header,
// a record of decisions with a sample of the allowed.
func (l *lab) configuration(w *workload) string {
	var b strings.Builder
	allow := "providers: [staff, partner], allow: {groups: [wiki-users], scopes: [read]}"
	if w.local {
		fmt.Fprintf(&b, "api_tokens: {store: %q}\n", l.stored.setting)
		allow = "providers: [staff, api-tokens], allow: {groups: [wiki-users]}"
	}
	opaque := ""
	if w.opaque {
		opaque = fmt.Sprintf("  - {name: legacy, type: oauth2, client_id: bench, client_secret: a-secret, audiences: [api], endpoints: {introspection: %q}, cache: {ttl: 10m}}\n", l.asked.url)
		allow = "providers: [staff, legacy], allow: {groups: [wiki-users], scopes: [read]}"
	}
	fmt.Fprintf(&b, `
listen: {grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
limits: {drain_delay: 0s}
headers: {user: %s, email: x-forwarded-email, groups: x-forwarded-groups, provider: x-forwarded-provider, subject: x-forwarded-subject}
log: {audit: {file: %q, allow_sample: 0.01}}
providers:
  - {name: partner, type: oidc, issuer: "https://partner.bench.example", audiences: [api], endpoints: {jwks: %q}}
  - {name: staff, type: oidc, issuer: %q, audiences: [api], groups: [groups], endpoints: {jwks: %q}}
%srules:
`, userHeader, filepath.Join(l.dir, "audit.log"), l.issuer.keys, issuerName, l.issuer.keys, opaque)
	for n := range w.rules {
		fmt.Fprintf(&b, "  - {name: space-%d, match: {paths: [/spaces/%d/**], methods: [GET, POST]}, allow: {groups: [space-%d]}}\n", n, n, n)
	}
	fmt.Fprintf(&b, "  - {name: content, match: {paths: [/rest/api/**], methods: [GET]}, %s}\n", allow)
	return b.String()
}

var servingLine = regexp.MustCompile(`"msg":"serving","grpc":"([^"]+)","admin":"([^"]+)"`)

// server is a program under test and where it listens.
type server struct {
	*process
	address string
	admin   string
	judge   judge
}

// startGatelodge starts the real server.
func (l *lab) startGatelodge(ctx context.Context, w *workload) (*server, error) {
	folder := l.options.profiles
	if folder == "" {
		return l.serve(ctx, w, l.binary, "serve", "--config")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	name := strings.NewReplacer(" ", "-", ",", "").Replace(w.name)
	return l.serve(ctx, w, self, "profiled", filepath.Join(folder, name))
}

// startOther starts what Gatelodge is compared to: the no-op, or another build.
func (l *lab) startOther(ctx context.Context, w *workload) (*server, error) {
	if l.options.against == "" {
		return l.startNoop(ctx)
	}
	return l.serve(ctx, w, l.options.against, "serve", "--config")
}

// serve starts a program that serves by the configuration named in its last
// argument, and returns once its providers' keys are there.
func (l *lab) serve(ctx context.Context, w *workload, program string, args ...string) (*server, error) {
	file := filepath.Join(l.dir, "gatelodge.yaml")
	if err := os.WriteFile(file, []byte(l.configuration(w)), 0o600); err != nil {
		return nil, err
	}
	p, err := launch(ctx, l.dir, gatelodgeName, program, append(args, file)...)
	if err != nil {
		return nil, err
	}
	s := &server{process: p, judge: judgeGatelodge}
	err = p.await(func() bool {
		m := servingLine.FindSubmatch(p.printed())
		if m == nil {
			return false
		}
		s.address, s.admin = string(m[1]), string(m[2])
		client := http.Client{Timeout: time.Second}
		resp, err := client.Get("http://" + s.admin + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	if err != nil {
		p.stop()
		return nil, err
	}
	return s, nil
}

// startNoop starts the server that says yes, as a process of its own.
func (l *lab) startNoop(ctx context.Context) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := launch(ctx, l.dir, noopName, self, "noop", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{process: p, judge: judgeNoop}
	err = p.await(func() bool {
		s.address = strings.TrimSpace(string(p.printed()))
		return s.address != ""
	})
	if err != nil {
		p.stop()
		return nil, err
	}
	return s, nil
}
