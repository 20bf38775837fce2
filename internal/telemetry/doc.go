// Package telemetry tells the world what the gate does: a log for people
// (log.go), a record of every decision (audit.go), which may go to a file that
// others move away (file.go), numbers for monitoring (metrics.go) and the admin
// listener that shows them (admin.go).
//
// Nothing here may slow a decision down: records are formatted only where they
// are kept, and handed to a writer that drops rather than wait; numbers are
// counted without a look-up of labels.
package telemetry
