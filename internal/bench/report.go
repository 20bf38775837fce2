package main

import (
	"fmt"
	"strings"
	"time"
)

// directTable is the comparison without Envoy, in Markdown.
func directTable(list []*comparison) string {
	var b strings.Builder
	b.WriteString("| workload | ratio to no-op | spread | µs CPU a check | no-op µs | p50 µs | p99 µs | no-op p50 | no-op p99 | RSS MB |\n")
	b.WriteString("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, c := range list {
		mid, low, high := c.ratio()
		cpu := func(s *sample) time.Duration { return s.perCheck }
		p50 := func(s *sample) time.Duration { return s.p50 }
		p99 := func(s *sample) time.Duration { return s.p99 }
		fmt.Fprintf(&b, "| %s | **%.2f** | %.2f–%.2f | %s | %s | %s | %s | %s | %s | %.0f |\n", c.workload.name, mid, low, high,
			micros(median(&c.gatelodge, cpu)), micros(median(&c.noop, cpu)),
			micros(median(&c.gatelodge, p50)), micros(median(&c.gatelodge, p99)),
			micros(median(&c.noop, p50)), micros(median(&c.noop, p99)), float64(c.gatelodge.memory)/1e6)
	}
	return b.String()
}

// micros writes a time in microseconds with two or three digits.
func micros(d time.Duration) string {
	us := float64(d) / 1e3
	if us < 100 {
		return fmt.Sprintf("%.1f", us)
	}
	return fmt.Sprintf("%.0f", us)
}
