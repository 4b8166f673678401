// Package units reads and writes amounts the way people say them: sizes
// ("1GiB", "64k", "10MB"), durations ("7d", "1h30m", "250ms") and counts with
// separated thousands. Machines get plain numbers: bytes and milliseconds.
//
// The package has no state and starts no goroutines.
package units
