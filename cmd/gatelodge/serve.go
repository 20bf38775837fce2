package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/serve"
)

func newServe() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Answer Envoy's checks",
		Long: `Serve answers Envoy's external authorization checks (ext_authz, gRPC) by a
configuration file. It follows changes of the file and of the files that it
names: what is valid is taken over whole, what is not is logged and leaves the
old in force. SIGHUP has it look at once. An audit file that was moved away is
begun anew within a second.

The admin listener has /healthz (alive), /readyz (can decide, and why not) and
/metrics (Prometheus). SIGTERM or an interrupt ends it in order.`,
		Example: `  gatelodge serve --config gatelodge.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return errors.New("--config is needed; see 'gatelodge serve --help'")
			}
			look := make(chan os.Signal, 1)
			signal.Notify(look, syscall.SIGHUP)
			defer signal.Stop(look)
			if err := serve.Run(cmd.Context(), serve.Options{Config: file, Log: cmd.ErrOrStderr(), Look: look}); err != nil {
				return fmt.Errorf("cannot serve:\n%w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the configuration `FILE`")
	return cmd
}
