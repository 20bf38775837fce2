package main

import (
	"fmt"
	"strings"
	"time"
)

func serverCPU(s *sample) time.Duration { return s.server }
func totalCPU(s *sample) time.Duration  { return s.total }
func p50(s *sample) time.Duration       { return s.p50 }
func p99(s *sample) time.Duration       { return s.p99 }

// directTable is the comparison of the servers alone, in Markdown.
func directTable(list []*comparison) string {
	t := table{
		"workload", "server", "CPU, ratio to no-op", "spread", "CPU µs", "p50 µs", "p99 µs", "RSS MB",
	}.head()
	for _, c := range list {
		for _, s := range c.series {
			mid, low, high := c.ratio(s, serverCPU)
			t.row(c.workload.name, s.name, fmt.Sprintf("**%.2f**", mid), fmt.Sprintf("%.2f–%.2f", low, high),
				micros(median(s, serverCPU)), micros(median(s, p50)), micros(median(s, p99)), megabytes(s.memory))
		}
	}
	return t.String()
}

// throughTable is the comparison through Envoy.
func throughTable(list []*comparison) string {
	t := table{"workload", "in front", "requests/s", "p50 µs", "p99 µs", "CPU with Envoy, ratio to no-op", "spread", "server CPU µs", "total CPU µs"}.head()
	for _, c := range list {
		for _, s := range c.series {
			mid, low, high := c.ratio(s, totalCPU)
			t.row(c.workload.name, s.name, fmt.Sprintf("%.0f", median(s, func(s *sample) float64 { return s.rate })),
				micros(median(s, p50)), micros(median(s, p99)), fmt.Sprintf("**%.2f**", mid), fmt.Sprintf("%.2f–%.2f", low, high),
				micros(median(s, serverCPU)), micros(median(s, totalCPU)))
		}
	}
	return t.String()
}

// fixedTable is the comparison at a fixed rate.
func fixedTable(list []*comparison) string {
	t := table{"workload", "server", "server CPU, ratio to no-op", "spread", "CPU with Envoy, ratio", "p50, ratio", "p99, ratio", "p50 µs", "p99 µs", "server CPU µs"}.head()
	for _, c := range list {
		for _, s := range c.series {
			mid, low, high := c.ratio(s, serverCPU)
			total, _, _ := c.ratio(s, totalCPU)
			half, _, _ := c.ratio(s, p50)
			most, _, _ := c.ratio(s, p99)
			t.row(c.workload.name, s.name, fmt.Sprintf("**%.2f**", mid), fmt.Sprintf("%.2f–%.2f", low, high), fmt.Sprintf("%.2f", total),
				fmt.Sprintf("%.2f", half), fmt.Sprintf("%.2f", most), micros(median(s, p50)), micros(median(s, p99)), micros(median(s, serverCPU)))
		}
	}
	return t.String()
}

// table is a Markdown table in the making: its columns.
type table []string

type rows struct{ strings.Builder }

func (t table) head() *rows {
	r := &rows{}
	r.row(t...)
	r.WriteString("| --- |" + strings.Repeat(" ---: |", len(t)-1) + "\n")
	return r
}

func (r *rows) row(cells ...string) { r.WriteString("| " + strings.Join(cells, " | ") + " |\n") }

// micros writes a time in microseconds with two or three digits.
func micros(d time.Duration) string {
	us := float64(d) / 1e3
	if us < 100 {
		return fmt.Sprintf("%.1f", us)
	}
	return fmt.Sprintf("%.0f", us)
}

func megabytes(n int64) string { return fmt.Sprintf("%.0f", float64(n)/1e6) }
