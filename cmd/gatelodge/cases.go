package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/trial"
)

// runCases decides a table of cases, for the operator's own CI.
func runCases(cmd *cobra.Command, f *testFlags) error {
	settings, err := loadConfig(f.config)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(f.cases)
	if err != nil {
		return fmt.Errorf("--cases: %w", err)
	}
	cases, err := trial.ReadCases(text)
	if err != nil {
		return fmt.Errorf("%s: %w", f.cases, err)
	}
	results, err := cases.Run(cmd.Context(), settings, time.Now())
	if err != nil {
		return fmt.Errorf("%s: %w", f.cases, err)
	}
	if f.asJSON {
		if err := printJSON(cmd.OutOrStdout(), results); err != nil {
			return err
		}
	}
	failed := 0
	for i := range results {
		if !results[i].Passed {
			failed++
		}
		if !f.asJSON {
			printCase(cmd, &results[i], f.explain)
		}
	}
	if !f.asJSON {
		cmd.Printf("%d cases, %d failed\n", len(results), failed)
	}
	if failed > 0 {
		return no(nil)
	}
	return nil
}

// printCase writes one line for a case that passed, and what differs and why
// for one that did not.
func printCase(cmd *cobra.Command, r *trial.CaseResult, explain bool) {
	if r.Passed {
		cmd.Printf("ok      %s\n", visible(r.Name))
	} else {
		cmd.Printf("FAILED  %s\n        %s\n", visible(r.Name), visible(strings.Join(r.Problems, "; ")))
	}
	if r.Passed && !explain {
		return
	}
	for _, s := range r.Report.Steps {
		cmd.Printf("        %-7s %s%s\n", s.Outcome, s.Name, mark(": ", visible(s.Detail)))
	}
}
