package unary

import (
	"encoding/xml"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// What h2spec wants of any HTTP server, and a gRPC server cannot give: an answer
// with a body to GET. TestAnswersKeepToTheWindows, TestWindowBelowZero and
// TestCallsAtOnce are about the same.
var noBodyForGET = map[string]bool{
	"Sends a WINDOW_UPDATE frame on half-closed (remote) stream": true,
	"Sends a PRIORITY frame on half-closed (remote) stream":      true,
	// Calls that are answered at once are never too many.
	"Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded": true,
}

// h2spec puts the server to the test of RFC 9113 and 7541: frames out of order, of
// wrong sizes, on wrong streams, windows that overflow, headers that are none.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	host, port, err := net.SplitHostPort(listen(t, newEcho()))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report.xml")
	out, runErr := realtest.GoTool(t, "h2spec", "--host", host, "--port", port, "--timeout", "5", "--junit-report", file).CombinedOutput()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v, %v\n%s", runErr, err, out)
	}
	var report struct {
		Suites []struct {
			Cases []struct {
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, s := range report.Suites {
		for _, c := range s.Cases {
			switch {
			case c.Failure == nil && c.Error == nil && c.Skipped == nil:
				passed++
			case c.Skipped == nil && !noBodyForGET[c.Name]:
				t.Errorf("%s", c.Name)
			}
		}
	}
	if passed < 138 {
		t.Errorf("%d passed, want 138 of 145", passed)
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
