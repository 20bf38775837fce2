package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/config"
)

// checked is what check-config says with --json.
type checked struct {
	Valid    bool             `json:"valid"`
	Faults   []config.Message `json:"faults"`
	Warnings []config.Message `json:"warnings"`
}

func newCheckConfig() *cobra.Command {
	var asJSON bool
	var file string
	cmd := &cobra.Command{
		Use:   "check-config FILE",
		Short: "Find every fault of a configuration",
		Long: `Check-config reads a configuration as serve would, with the secrets and files that
it names, and prints every fault at once as file:line:column: key: what is wrong
and what would be right. Warnings are about what works and is not advisable. No
provider is asked.

Exit status: 0 serve would start with it, 2 it would not.`,
		Example: `  gatelodge check-config gatelodge.yaml
  gatelodge check-config gatelodge.yaml --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (file != "") == (len(args) > 0) {
				return errors.New("name one file: check-config FILE")
			}
			return checkConfig(cmd, cmp.Or(file, strings.Join(args, "")), asJSON)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "the file, as the other commands take it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func checkConfig(cmd *cobra.Command, path string, asJSON bool) error {
	_, warnings, err := config.Load(path)
	var faults *config.Faults
	if err != nil && !errors.As(err, &faults) {
		return err
	}
	result := checked{Valid: err == nil, Faults: []config.Message{}, Warnings: append([]config.Message{}, warnings...)}
	if faults != nil {
		result.Faults = faults.List
	}
	out := cmd.OutOrStdout()
	if asJSON {
		if err := printJSON(out, result); err != nil {
			return err
		}
	} else {
		for _, m := range result.Faults {
			_, _ = fmt.Fprintln(out, m)
		}
		for _, m := range result.Warnings {
			_, _ = fmt.Fprintf(out, "%s (warning)\n", m)
		}
	}
	switch n := len(result.Faults); {
	case n == 1:
		return fmt.Errorf("%s has a fault", path)
	case n > 1:
		return fmt.Errorf("%s has %d faults", path, n)
	case !asJSON:
		_, err = fmt.Fprintf(out, "%s is good\n", path)
		return err
	}
	return nil
}
