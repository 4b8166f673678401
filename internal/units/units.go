package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// byteFactors maps the unit of a size, in lower case, to its bytes. A bare
// letter means the power of 1024, as ls, du and dd have it; "KB" is 1000.
var byteFactors = map[string]int64{
	"": 1, "b": 1,
	"k": 1 << 10, "kib": 1 << 10, "kb": 1e3,
	"m": 1 << 20, "mib": 1 << 20, "mb": 1e6,
	"g": 1 << 30, "gib": 1 << 30, "gb": 1e9,
	"t": 1 << 40, "tib": 1 << 40, "tb": 1e12,
}

// ParseBytes reads a size such as "1GiB", "1.5MB", "64k", "4096" or "-1", and
// returns bytes. Fractions must come out at whole bytes or are rounded down.
func ParseBytes(s string) (int64, error) {
	number, unit := splitUnit(strings.TrimSpace(s))
	factor, ok := byteFactors[strings.ToLower(strings.TrimSpace(unit))]
	if !ok || number == "" {
		return 0, fmt.Errorf("%q is not a size; write for example 512KiB, 10MB, 1GiB or a number of bytes", s)
	}
	if whole, err := strconv.ParseInt(number, 10, 64); err == nil {
		if whole > math.MaxInt64/factor || whole < math.MinInt64/factor {
			return 0, fmt.Errorf("size %q does not fit in 64 bits", s)
		}
		return whole * factor, nil
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size; write for example 512KiB, 10MB, 1GiB or a number of bytes", s)
	}
	value *= float64(factor)
	if math.Abs(value) >= math.MaxInt64 {
		return 0, fmt.Errorf("size %q does not fit in 64 bits", s)
	}
	return int64(value), nil
}

// splitUnit cuts s behind its last digit.
func splitUnit(s string) (number, unit string) {
	end := strings.LastIndexAny(s, "0123456789") + 1
	return s[:end], s[end:]
}

// FormatBytes writes a size with a binary unit and three significant digits
// or so: "0 B", "1.5 KiB", "37.2 GiB".
func FormatBytes(bytes int64) string {
	if bytes < 0 {
		return strconv.FormatInt(bytes, 10) + " B"
	}
	if bytes < 1<<10 {
		return strconv.FormatInt(bytes, 10) + " B"
	}
	value, unit := float64(bytes), 0
	names := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for value >= 1024 && unit < len(names)-1 {
		value /= 1024
		unit++
	}
	return strconv.FormatFloat(value, 'f', 1, 64) + " " + names[unit]
}

// FormatBytesExact writes a size as ParseBytes reads it back, without loss:
// with a binary unit where that is exact ("1GiB"), else as a plain number.
func FormatBytesExact(bytes int64) string {
	if bytes > 0 && bytes != math.MaxInt64 {
		for _, u := range []struct {
			name   string
			factor int64
		}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
			if bytes%u.factor == 0 {
				return strconv.FormatInt(bytes/u.factor, 10) + u.name
			}
		}
	}
	return strconv.FormatInt(bytes, 10)
}

// ParseDuration reads what time.ParseDuration reads and also days and weeks,
// which are 24 and 168 hours: "7d", "1w2d", "1d12h", "-2d".
func ParseDuration(s string) (time.Duration, error) {
	rest := strings.TrimSpace(s)
	bad := fmt.Errorf("%q is not a duration; write for example 500ms, 30s, 1h30m, 7d or 2w", s)
	negative := strings.HasPrefix(rest, "-")
	rest = strings.TrimPrefix(rest, "-")
	if rest == "" || strings.ContainsAny(rest, "+- ") {
		return 0, bad
	}
	var days float64
	for _, u := range []struct {
		name string
		days float64
	}{{"w", 7}, {"d", 1}} {
		number, after, found := strings.Cut(rest, u.name)
		if !found {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || n < 0 {
			return 0, bad
		}
		days, rest = days+n*u.days, after
	}
	total := days * float64(24*time.Hour)
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil {
			return 0, bad
		}
		total += float64(d)
		if days == 0 { // exact: no detour by floating point
			return signed(d, negative), nil
		}
	}
	if total >= math.MaxInt64 {
		return 0, fmt.Errorf("duration %q is longer than 292 years", s)
	}
	return signed(time.Duration(total), negative), nil
}

func signed(d time.Duration, negative bool) time.Duration {
	if negative {
		return -d
	}
	return d
}

// FormatMillis writes a number of milliseconds as ParseDuration reads it back,
// without loss: "7d", "1d12h", "250ms", "0".
func FormatMillis(ms int64) string {
	if ms <= 0 || ms > math.MaxInt64/int64(time.Millisecond) {
		return strconv.FormatInt(ms, 10)
	}
	var out strings.Builder
	for _, u := range []struct {
		name string
		ms   int64
	}{{"d", 86_400_000}, {"h", 3_600_000}, {"m", 60_000}, {"s", 1000}, {"ms", 1}} {
		if n := ms / u.ms; n > 0 {
			out.WriteString(strconv.FormatInt(n, 10) + u.name)
			ms %= u.ms
		}
	}
	return out.String()
}

// FormatElapsed writes how long something took, to about three digits:
// "850ms", "3.21s", "2m14s".
func FormatElapsed(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

// FormatCount writes a number with its thousands separated: "1,234,567".
func FormatCount(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var out strings.Builder
	out.WriteString(sign)
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out.WriteByte(',')
		}
		out.WriteByte(digits[i])
	}
	return out.String()
}
