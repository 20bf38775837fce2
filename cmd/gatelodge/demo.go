package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/demo"
	"github.com/gatelodge/gatelodge/internal/serve"
)

type demoFlags struct {
	once   bool
	asJSON bool
	envoy  string
	listen string
	only   string
}

func newDemo() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Bring up the whole picture on this machine",
		Long: `Demo starts a real Envoy, a demo identity provider, a sample API and Gatelodge
between them, all on loopback, prints what runs where and requests to try, and
stays up until Ctrl-C. All that it writes is in a temporary folder, which goes
with it.

With --once it makes the requests of a tour (valid, expired and forged tokens,
spoofed headers, a provider that is down and comes back …), prints what came of
each, and ends: with status 0 if all came out right, 1 if not, 3 if the tour
could not be made.

The Envoy is that of --envoy, else of $GATELODGE_ENVOY, else
.tools/envoy/bin/envoy here or in a folder above, else the PATH's.

With --only api nothing but the sample API runs, and may listen on any address:
it is the upstream of docker-compose.yml.`,
		Example: `  gatelodge demo
  gatelodge demo --listen 127.0.0.1:8080
  gatelodge demo --once --json
  gatelodge demo --only api --listen 0.0.0.0:8080`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd, f) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.once, "once", false, "make the tour, print what came of it, and end")
	flags.BoolVar(&f.asJSON, "json", false, "print the tour as JSON (with --once)")
	flags.StringVar(&f.envoy, "envoy", "", "`PATH` of the Envoy to run")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:0", "where Envoy listens, `HOST:PORT`; port 0: any")
	flags.StringVar(&f.only, "only", "", "run one `PART` alone: api")
	return cmd
}

func runDemo(cmd *cobra.Command, f demoFlags) error {
	switch {
	case f.asJSON && !f.once:
		return errors.New("--json is for the tour: it goes with --once")
	case f.only != "" && f.only != "api":
		return fmt.Errorf("--only %q: only \"api\" can run alone", f.only)
	case f.only != "" && f.once:
		return errors.New("--only and --once do not go together: the tour needs every part")
	case f.only != "":
		return demoAPI(cmd, f.listen)
	}
	return demoWorld(cmd, f)
}

// demoAPI runs the sample API until the command is interrupted.
func demoAPI(cmd *cobra.Command, listen string) error {
	api := demo.NewAPI(listen)
	if err := api.Up(); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "sample API on http://%s\n", api.Addr())
	<-cmd.Context().Done()
	return api.Down()
}

// demoWorld brings everything up, and makes the tour or waits.
func demoWorld(cmd *cobra.Command, f demoFlags) (err error) {
	envoy, err := demo.FindEnvoy(f.envoy)
	if err != nil {
		return err
	}
	w, err := demo.Start(cmd.Context(), demo.Options{
		Envoy:    envoy,
		Listen:   f.listen,
		Serve:    serveForDemo,
		Progress: cmd.ErrOrStderr(),
	})
	if err != nil {
		return fmt.Errorf("starting the demo: %w", err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if f.once {
		return demoTour(cmd, w, f.asJSON)
	}
	if err := printGuide(cmd.OutOrStdout(), w); err != nil {
		return err
	}
	return w.Wait(cmd.Context())
}

// serveForDemo runs Gatelodge in this process, as serve would.
func serveForDemo(ctx context.Context, config string, log io.Writer, ready func(admin net.Addr)) error {
	return serve.Run(ctx, serve.Options{Config: config, Log: log, Ready: func(_, admin net.Addr) { ready(admin) }})
}

// demoTour makes the tour; its status says whether all came out right.
func demoTour(cmd *cobra.Command, w *demo.World, asJSON bool) error {
	out := cmd.OutOrStdout()
	tell := func(demo.Result) {}
	if !asJSON {
		tell = func(r demo.Result) { printResult(out, r) }
		printResultHead(out)
	}
	results, err := w.Tour(cmd.Context(), tell)
	if err != nil {
		return undecided(fmt.Errorf("making the tour: %w", err))
	}
	if asJSON {
		if err := printJSON(out, results); err != nil {
			return err
		}
	}
	wrong := 0
	for _, r := range results {
		if !r.OK {
			wrong++
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", r.Request, r.Problem)
		}
	}
	if wrong > 0 {
		return no(fmt.Errorf("%d of %d requests came out wrong", wrong, len(results)))
	}
	return nil
}

// resultRow is a line of the tour's table; lines come as requests are made.
const resultRow = "%-48s %-7s %-12s %s\n"

func printResultHead(w io.Writer) {
	_, _ = fmt.Fprintf(w, resultRow, "REQUEST", "STATUS", "USER", "OK")
}

func printResult(w io.Writer, r demo.Result) {
	user, ok := r.User, "yes"
	if user == "" {
		user = "-"
	}
	if !r.OK {
		ok = "NO"
	}
	_, _ = fmt.Fprintf(w, resultRow, r.Request, strconv.Itoa(r.Status), user, ok)
}

// printGuide tells what runs where, and what to try.
func printGuide(out io.Writer, w *demo.World) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"Envoy", w.Front},
		{"Gatelodge, admin", w.Admin},
		{"demo identity provider", w.IdP.Issuer()},
		{"sample API", "http://" + w.API.Addr() + "  (behind Envoy; nobody should reach it directly)"},
		{"configuration, logs", w.Dir},
	} {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", row[0], row[1]) // Flush tells
	}
	if err := t.Flush(); err != nil {
		return err
	}
	token := func(query string) string {
		return fmt.Sprintf(`-H "Authorization: Bearer $(curl -s '%s/demo/token?%s')"`, w.IdP.Issuer(), query)
	}
	_, err := fmt.Fprintf(out, `
Let through as alice; the API shows what it received:
  curl -i %[1]s %[2]s/rest/api/content/
Denied, 401: no token, an expired one, one with a forged signature:
  curl -i %[2]s/rest/api/content/
  curl -i %[3]s %[2]s/rest/api/content/
  curl -i %[4]s %[2]s/rest/api/content/
A public page, and one for members of wiki-admins (bob is, alice is not):
  curl -i %[2]s/status
  curl -i %[5]s %[2]s/rest/admin/users
The same from the command line, with a browser to sign in:
  %[7]s login --config %[6]s --provider demo > token
  %[7]s test --config %[6]s --token-file token --path /rest/api/content/
  %[7]s attributes --config %[6]s --provider demo --token-file token

Ctrl-C ends everything.
`, token("user=alice"), w.Front, token("user=alice&flaw=expired"), token("user=alice&flaw=forged"), token("user=bob"), w.Config, self())
	return err
}

// self is how this program is called again: by name where the shell finds it.
func self() string {
	if _, err := exec.LookPath("gatelodge"); err == nil {
		return "gatelodge"
	}
	path, err := os.Executable()
	if err != nil {
		return "gatelodge"
	}
	return path
}
