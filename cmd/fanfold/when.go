package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/internal/units"
)

// timeForms are the forms of a point in time, the most exact first.
var timeForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"}

// parseTime reads a point in time: RFC 3339 (without a zone it is local time),
// @ and milliseconds since 1970, or a duration before or after now: -1h, +5m.
func parseTime(s string, now time.Time) (time.Time, error) {
	text := strings.TrimPrefix(s, "@")
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil && text != s {
		return time.UnixMilli(ms), nil
	}
	if len(text) > 1 && (text[0] == '-' || text[0] == '+') {
		d, err := units.ParseDuration(text[1:])
		if err != nil {
			return time.Time{}, err
		}
		if text[0] == '-' {
			d = -d
		}
		return now.Add(d), nil
	}
	if text == "now" {
		return now, nil
	}
	for _, form := range timeForms {
		if t, err := time.ParseInLocation(form, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no point in time; write for example 2026-01-31T12:00:00Z, 2026-01-31, -1h or @1700000000000", s)
}
