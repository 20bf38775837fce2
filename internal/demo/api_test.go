package demo

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAPIShowsWhatItReceived(t *testing.T) {
	a := NewAPI(loopback)
	if err := a.Up(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Down(); err != nil {
			t.Error(err)
		}
	})
	req, err := http.NewRequest(http.MethodGet, "http://"+a.Addr()+"/rest/api/content/?limit=2", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-User", "alice")
	req.Header.Set(stepHeader, "7")
	req.Header.Set("User-Agent", "test")
	req.Header.Set("Accept-Encoding", "identity")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("status %d", res.StatusCode)
	}
	got, ok := a.received("7")
	want := Received{Method: "GET", Path: "/rest/api/content/?limit=2", Headers: map[string][]string{
		"host": {a.Addr()}, "x-forwarded-user": {"alice"}, stepHeader: {"7"},
		"user-agent": {"test"}, "accept-encoding": {"identity"},
	}}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("reached %t (-want +got):\n%s", ok, diff)
	}
	if _, ok := a.received("8"); ok {
		t.Error("a request that was never made is said to have arrived")
	}
}

func TestCheckLoopback(t *testing.T) {
	for address, good := range map[string]bool{
		"127.0.0.1:0": true, "127.0.0.2:80": true, "[::1]:80": true,
		"0.0.0.0:80": false, ":80": false, "192.0.2.1:80": false, "localhost:80": false, "127.0.0.1": false,
	} {
		if err := CheckLoopback(address); (err == nil) != good {
			t.Errorf("%s: %v", address, err)
		}
	}
}
