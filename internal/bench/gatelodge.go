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
func (l *lab) configuration(w *workload, name string) string {
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
listen: {grpc: "127.0.0.1:0", admin: "127.0.0.1:0", lean_transport: %t}
limits: {drain_delay: 0s}
headers: {user: %s, email: x-forwarded-email, groups: x-forwarded-groups, provider: x-forwarded-provider, subject: x-forwarded-subject}
log: {audit: {file: %q, allow_sample: 0.01}}
providers:
  - {name: partner, type: oidc, issuer: "https://partner.bench.example", audiences: [api], endpoints: {jwks: %q}}
  - {name: staff, type: oidc, issuer: %q, audiences: [api], groups: [groups], endpoints: {jwks: %q}}
%srules:
`, name == leanName, userHeader, filepath.Join(l.dir, name+" audit.log"), l.issuer.keys, issuerName, l.issuer.keys, opaque)
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

// The contestants of every comparison. Another build takes the no-op's place, and
// its name, for -against.
const (
	gatelodgeName = "gatelodge"
	leanName      = "gatelodge lean" // with listen.lean_transport
	noopName      = "no-op"
)

// start starts the servers of a comparison. They are to be stopped, whatever
// the error is.
func (l *lab) start(ctx context.Context, w *workload) (list []*server, err error) {
	for _, name := range []string{gatelodgeName, leanName, noopName} {
		var s *server
		switch {
		case name == leanName && l.options.against != "":
			continue
		case name == noopName && l.options.against == "":
			s, err = l.startNoop(ctx)
		case name == noopName:
			s, err = l.serve(ctx, w, name, l.options.against, "serve", "--config")
		default:
			s, err = l.startGatelodge(ctx, w, name)
		}
		if err != nil {
			return list, err
		}
		list = append(list, s)
	}
	return list, nil
}

func stop(list []*server) {
	for _, s := range list {
		s.stop()
	}
}

// startGatelodge starts the real server.
func (l *lab) startGatelodge(ctx context.Context, w *workload, name string) (*server, error) {
	folder := l.options.profiles
	if folder == "" {
		return l.serve(ctx, w, name, l.binary, "serve", "--config")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	profile := strings.NewReplacer(" ", "-", ",", "").Replace(w.name + " " + name)
	return l.serve(ctx, w, name, self, "profiled", filepath.Join(folder, profile))
}

// serve starts a program that serves by the configuration named in its last
// argument, and returns once its providers' keys are there.
func (l *lab) serve(ctx context.Context, w *workload, name, program string, args ...string) (*server, error) {
	file := filepath.Join(l.dir, name+".yaml")
	transport := name
	if l.options.lean {
		transport = leanName
	}
	if err := os.WriteFile(file, []byte(l.configuration(w, transport)), 0o600); err != nil {
		return nil, err
	}
	p, err := launch(ctx, l.dir, name, program, append(args, file)...)
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
