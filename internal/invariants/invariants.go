package invariants

import "fmt"

// Check panics where cond is false, with the text that format and args give,
// if [Enabled]; otherwise it does nothing.
func Check(cond bool, format string, args ...any) {
	if Enabled && !cond {
		panic(violation(format, args))
	}
}

//go:noinline
func violation(format string, args []any) string {
	return "invariant violated: " + fmt.Sprintf(format, args...)
}
