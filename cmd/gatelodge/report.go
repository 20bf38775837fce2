package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/shadow"
)

func newReport() *cobra.Command {
	var file string
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "report --audit FILE",
		Short: "Sum up who shadow mode would have refused",
		Long: `Report reads a record of decisions (log.audit in the configuration) and sums up
what shadow mode let through that enforcing would refuse: by caller, path and
reason, the most frequent first. Numbers and other ids in paths become {id}.

Exit status: 0 nobody would be refused, 1 somebody would, 2 the record cannot
be read.`,
		Example: `  gatelodge report --audit audit.jsonl
  zcat audit-*.gz | gatelodge report --audit - --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in := cmd.InOrStdin()
			if file != "-" {
				f, err := os.Open(file)
				if err != nil {
					return fmt.Errorf("--audit: %w", err)
				}
				defer func() { _ = f.Close() }()
				in = f
			}
			r, err := shadow.Read(in)
			if err != nil {
				return fmt.Errorf("--audit %s: %w", file, err)
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), r)
			} else {
				err = printShadow(cmd.OutOrStdout(), r, limit)
			}
			if err == nil && r.Refused > 0 {
				return no(nil)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&file, "audit", "", "the record of decisions, a `FILE`; - for standard input")
	cmd.Flags().IntVar(&limit, "limit", 50, "most rows to print; 0 for all")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, with all rows")
	_ = cmd.MarkFlagRequired("audit") // the flag was defined above
	return cmd
}

func printShadow(w io.Writer, r *shadow.Report, limit int) error {
	if r.Decisions == 0 {
		_, err := fmt.Fprintln(w, "The record holds no decisions.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _, _ = fmt.Fprintln(t, strings.Join(cells, "\t")) } // Flush tells
	_, _ = fmt.Fprintf(t, "%d of %d recorded requests would be refused (%s to %s).\n", r.Refused, r.Decisions,
		r.From.Format(time.RFC3339), r.To.Format(time.RFC3339))
	if r.Refused > 0 {
		row("COUNT", "CALLER", "METHOD", "PATH", "RULE", "WOULD BE", "REASON", "LAST DECISION")
	}
	rows := r.Rows
	if limit > 0 && len(rows) > limit {
		rows = rows[:limit]
	}
	for _, x := range rows {
		row(strconv.Itoa(x.Count), visible(x.Caller), visible(x.Method), visible(x.Path), visible(x.Rule), x.Status, x.Reason, x.ID)
	}
	if left := len(r.Rows) - len(rows); left > 0 {
		_, _ = fmt.Fprintf(t, "… and %d rows more: see --limit.\n", left)
	}
	return t.Flush()
}
