package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/config"
)

func newCheckConfig() *cobra.Command {
	var asJSON, schema bool
	var file string
	cmd := &cobra.Command{
		Use:   "check-config FILE",
		Short: "Find every fault of a configuration",
		Long: `Check-config reads a configuration file as serve would, secrets included, and
prints every fault with its line, column and key. It asks no provider.

Exit status 0: it can be served by (warnings may be printed); 2: it cannot.
With --schema it prints the JSON Schema of the file, for editors.`,
		Example: `  gatelodge check-config gatelodge.yaml
  gatelodge check-config --schema > gatelodge.schema.json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if schema {
				_, err := cmd.OutOrStdout().Write(config.Schema())
				return err
			}
			if len(args) == 1 && file != "" {
				return errors.New("one file at a time: FILE, or --config FILE, which is the same")
			}
			if len(args) == 1 {
				file = args[0]
			}
			if file == "" {
				return errors.New("which file? see 'gatelodge check-config --help'")
			}
			return checkConfig(cmd, file, asJSON)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the configuration `FILE`, as the other commands have it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of the file")
	return cmd
}

// checked is the result as JSON.
type checked struct {
	Valid    bool             `json:"valid"`
	Faults   []config.Message `json:"faults"`
	Warnings []config.Message `json:"warnings"`
}

func checkConfig(cmd *cobra.Command, file string, asJSON bool) error {
	c, warnings, err := config.Load(file)
	var faults *config.Faults
	if err != nil && !errors.As(err, &faults) {
		return err
	}
	if asJSON {
		result := checked{Valid: err == nil, Faults: []config.Message{}, Warnings: append([]config.Message{}, warnings...)}
		if faults != nil {
			result.Faults = faults.List
		}
		if err := printJSON(cmd.OutOrStdout(), result); err != nil {
			return err
		}
		if err != nil {
			return &exitError{code: exitMisuse}
		}
		return nil
	}
	for _, w := range warnings {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", w)
	}
	if err != nil {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), err)
		return &exitError{code: exitMisuse, err: fmt.Errorf("%d faults in %s", len(faults.List), file)}
	}
	_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s is good: %d providers, %d rules\n", file, len(c.Providers), len(c.Rules))
	return nil
}
