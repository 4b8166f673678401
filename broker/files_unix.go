//go:build unix

package broker

import (
	"math"

	"golang.org/x/sys/unix"
)

// openFiles is how many files this process may have open; 0: without limit.
func openFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || uint64(limit.Cur) > math.MaxInt32 {
		return 0
	}
	return int(limit.Cur)
}
