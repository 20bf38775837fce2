package demo

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFindEnvoy(t *testing.T) {
	root := t.TempDir()
	installed := filepath.Join(root, ".tools/envoy/bin/envoy")
	inPath := filepath.Join(root, "bin/envoy")
	for _, path := range []string{installed, inPath} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	deep := filepath.Join(root, "a/b")
	elsewhere := t.TempDir()
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		named, env, path, dir string
		want                  string
		err                   error
	}{
		"named":          {named: inPath, env: "/nowhere", dir: deep, want: inPath},
		"environment":    {env: inPath, dir: deep, want: inPath},
		"above":          {dir: deep, path: filepath.Dir(inPath), want: installed},
		"path":           {dir: elsewhere, path: filepath.Dir(inPath), want: inPath},
		"nowhere":        {dir: elsewhere, err: ErrNoEnvoy},
		"named, missing": {named: "/nowhere", dir: deep, err: os.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GATELODGE_ENVOY", tc.env)
			t.Setenv("PATH", tc.path)
			t.Chdir(tc.dir)
			got, err := FindEnvoy(tc.named)
			if got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("got %q, %v; want %q, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

func TestListenerAddress(t *testing.T) {
	got, err := listenerAddress([]byte(`{"listener_statuses":[{"name":"front","local_address":{"socket_address":{"address":"127.0.0.1","port_value":4711}}}]}`))
	if err != nil || got != "127.0.0.1:4711" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, body := range []string{`{}`, `no JSON`} {
		if _, err := listenerAddress([]byte(body)); err == nil {
			t.Errorf("%s: no error", body)
		}
	}
}
