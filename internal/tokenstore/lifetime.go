package tokenstore

import (
	"errors"
	"regexp"
	"strconv"
	"time"
)

const day = 24 * time.Hour

var errLifetime = errors.New("write a time as 90d, 12h or 30m")

// lifetimes has few enough digits that no sum overflows.
var lifetimes = regexp.MustCompile(`^(?:([0-9]{1,5})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,5})s)?$`)

// ParseLifetime reads a time that may count in days: "90d", "1d12h", "30m".
func ParseLifetime(text string) (total time.Duration, err error) {
	found := lifetimes.FindStringSubmatch(text)
	if found == nil || text == "" {
		return 0, errLifetime
	}
	for i, unit := range []time.Duration{day, time.Hour, time.Minute, time.Second} {
		if found[i+1] == "" {
			continue
		}
		n, err := strconv.Atoi(found[i+1])
		if err != nil {
			return 0, errLifetime
		}
		total += time.Duration(n) * unit
	}
	return total, nil
}

// FormatLifetime writes what ParseLifetime reads, in days where it is whole days.
func FormatLifetime(d time.Duration) string {
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return d.Truncate(time.Second).String()
}
