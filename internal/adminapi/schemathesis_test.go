package adminapi

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// A fuzzing client reads the document that is served and sends what it allows
// and what it does not: every answer must be one that the document tells, no
// wrong request be taken, none that is right refused, and nobody let in without
// a credential. As a proof it sends twenty times as much.
func TestFuzzingClientAgreesWithTheDocument(t *testing.T) {
	settings, err := filepath.Abs("testdata/schemathesis.toml")
	if err != nil {
		t.Fatal(err)
	}
	examples := strconv.Itoa(realtest.Scale(10, 200))
	for _, person := range []string{"token", "alice"} {
		t.Run(person, func(t *testing.T) {
			d := newDesk(t)
			out := realtest.Schemathesis(t, d.url+"openapi.json", settings, "--header", "Authorization: "+d.who(person),
				"--max-examples", examples, "--continue-on-failure")
			told := regexp.MustCompile(`(\d+) generated, .*`).FindStringSubmatch(out)
			if told == nil || len(told[1]) < 3 {
				t.Errorf("it did not send hundreds of requests:\n%s", out)
			} else {
				realtest.Measured(t, "%s", told[0])
			}
			if strings.Contains(out, adminToken) || regexp.MustCompile(tokenstore.Pattern).MatchString(d.log.String()) {
				t.Error("a credential is told")
			}
		})
	}
}
