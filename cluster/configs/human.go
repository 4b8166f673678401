package configs

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// In bytes.
var sizeUnits = map[string]uint64{
	"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// In milliseconds.
var timeUnits = map[string]uint64{
	"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": day, "w": 7 * day,
}

var millisPerUnit = map[Unit]uint64{Milliseconds: 1, Minutes: 60_000, Hours: 3_600_000, Days: day}

// FromHuman turns a size ("1GiB", "500MB") or a duration ("7d", "1h30m") into
// the plain number in the config's unit; any other text comes back as it is.
// It is for command lines and configuration files: on Kafka's wire only plain
// numbers are values.
func FromHuman(d *Definition, text string) (string, error) {
	compact := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(text), " ", ""))
	if _, err := strconv.ParseInt(compact, 10, 64); err == nil || compact == "" || compact[0] < '0' || compact[0] > '9' {
		return text, nil
	}
	units, per := timeUnits, millisPerUnit[d.Unit]
	if d.Unit == Bytes {
		units, per = sizeUnits, 1
	}
	if per == 0 {
		return text, nil
	}
	total, err := sum(compact, units)
	if err == nil && total%per != 0 {
		err = fmt.Errorf("it is not a whole number of %s", d.Unit)
	}
	if err != nil {
		return "", &ValueError{Definition: d, Value: text, Err: err}
	}
	return strconv.FormatUint(total/per, 10), nil
}

// sum adds up pairs of a whole number and a unit, such as 1h30m.
func sum(text string, units map[string]uint64) (uint64, error) {
	var total uint64
	for text != "" {
		digits := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
		if digits < 1 {
			return 0, fmt.Errorf("%q is not a number with a unit", clip(text))
		}
		n, err := strconv.ParseUint(text[:digits], 10, 63)
		if err != nil {
			return 0, fmt.Errorf("%s is too large", clip(text[:digits]))
		}
		name := text[digits:]
		if end := strings.IndexFunc(name, func(r rune) bool { return r >= '0' && r <= '9' }); end >= 0 {
			name = name[:end]
		}
		unit, ok := units[name]
		if !ok {
			return 0, fmt.Errorf("%q is no unit of it", clip(name))
		}
		high, low := bits.Mul64(n, unit)
		added, carry := bits.Add64(total, low, 0)
		if high != 0 || carry != 0 || added > math.MaxInt64 {
			return 0, fmt.Errorf("it is too large")
		}
		total, text = added, text[digits+len(name):]
	}
	return total, nil
}

// ToHuman adds to a plain number what people read with it: "604800000 (7d)".
// Anything else comes back as it is.
func ToHuman(d *Definition, text string) string {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n == 0 || n == math.MaxInt64 {
		return text
	}
	units, names, per := timeUnits, []string{"w", "d", "h", "m", "s"}, millisPerUnit[d.Unit]
	if d.Unit == Bytes {
		units, names, per = sizeUnits, []string{"TiB", "GiB", "MiB", "KiB"}, 1
	}
	if per == 0 || n > math.MaxInt64/per {
		return text
	}
	for _, name := range names {
		if unit := units[strings.ToLower(name)]; n*per%unit == 0 && (name != "w" || n*per/unit > 1) {
			return fmt.Sprintf("%s (%d%s)", text, n*per/unit, name)
		}
	}
	return text
}
