package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/demo"
)

type demoFlags struct {
	listen string
	only   string
}

func newDemo() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Bring up the whole picture on this machine",
		Long: `Demo shows the parts around Gatelodge. With --only api it runs nothing but the
sample API, which answers each caller with the request that it received; it may
listen on any address: it is the upstream of docker-compose.yml.`,
		Example: `  gatelodge demo --only api --listen 0.0.0.0:8080`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.only != "api" {
				return fmt.Errorf("--only %q: only \"api\" can run alone", f.only)
			}
			return demoAPI(cmd, f.listen)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:0", "where to listen, host:port; port 0: any")
	flags.StringVar(&f.only, "only", "", "run one part alone: api")
	return cmd
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
