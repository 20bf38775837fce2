package tokenstore

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

var errLifetime = errors.New("write a time as 90d, 12h or 30m")

// ParseLifetime reads a time that may count in days: "90d", "1d12h", "30m".
func ParseLifetime(text string) (time.Duration, error) {
	var total time.Duration
	if days, rest, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, errLifetime
		}
		if total = time.Duration(n) * day; rest == "" {
			return total, nil
		}
		text = rest
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || strings.HasPrefix(text, "+") || d > 1<<16*day {
		return 0, errLifetime
	}
	return total + d, nil
}

// FormatLifetime writes what ParseLifetime reads, in days where it is whole days.
func FormatLifetime(d time.Duration) string {
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return d.String()
}
