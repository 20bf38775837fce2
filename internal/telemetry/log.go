package telemetry

import (
	"io"
	"log/slog"
)

// NewLog makes the log: level is debug, info, warn or error, format json or
// text. Each record is one line, whatever stands in it.
func NewLog(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: l}
	if format == "text" {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}
