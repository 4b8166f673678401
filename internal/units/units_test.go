package units

import (
	"testing"
	"time"
)

func TestParseBytes(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "-1": -1, "4096": 4096, "1k": 1024, "1K": 1024, "64KiB": 65536, "1kb": 1000,
		"10MB": 10_000_000, "1.5MiB": 1_572_864, "1GiB": 1 << 30, "2 TiB": 2 << 40, "100B": 100,
	} {
		if got, err := ParseBytes(in); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "KiB", "1x", "1.2.3k", "9223372036854775807k", "9999999999999.5TB", "ten"} {
		if got, err := ParseBytes(in); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", in, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for in, want := range map[string]time.Duration{
		"7d": 7 * day, "1w": 7 * day, "1w2d": 9 * day, "1d12h": 36 * time.Hour, "250ms": 250 * time.Millisecond,
		"-2d": -2 * day, "-1h": -time.Hour, "1.5d": 36 * time.Hour, "0": 0, "1h30m": 90 * time.Minute,
	} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-", "7", "d", "1d2w", "--1h", "1x", "999999w", "1d-1h"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", in, got)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{FormatBytes(0), "0 B"}, {FormatBytes(1536), "1.5 KiB"}, {FormatBytes(1 << 40), "1.0 TiB"}, {FormatBytes(-1), "-1 B"},
		{FormatBytesExact(1 << 30), "1GiB"}, {FormatBytesExact(1048588), "1048588"}, {FormatBytesExact(-1), "-1"},
		{FormatMillis(604_800_000), "7d"}, {FormatMillis(129_600_250), "1d12h250ms"}, {FormatMillis(-1), "-1"}, {FormatMillis(0), "0"},
		{FormatCount(0), "0"}, {FormatCount(999), "999"}, {FormatCount(1_234_567), "1,234,567"}, {FormatCount(-1000), "-1,000"},
		{FormatElapsed(1234 * time.Microsecond), "1ms"}, {FormatElapsed(3213 * time.Millisecond), "3.21s"}, {FormatElapsed(134 * time.Second), "2m14s"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"1GiB", "7d", "1w2d3h", "-1", "1.5MB", "9e99d", "1e3k"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseBytes(s); err == nil {
			if back, err := ParseBytes(FormatBytesExact(n)); err != nil || back != n {
				t.Fatalf("%q = %d, written as %q, read as %d, %v", s, n, FormatBytesExact(n), back, err)
			}
		}
		if d, err := ParseDuration(s); err == nil && d >= time.Millisecond {
			ms := d.Milliseconds()
			if back, err := ParseDuration(FormatMillis(ms)); err != nil || back.Milliseconds() != ms {
				t.Fatalf("%q = %v, written as %q, read as %v, %v", s, d, FormatMillis(ms), back, err)
			}
		}
	})
}
