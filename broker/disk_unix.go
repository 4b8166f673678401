//go:build unix

package broker

import "golang.org/x/sys/unix"

// diskSpace is the size of the file system that holds dir, and what of it is
// free to this process, in bytes.
func diskSpace(dir string) (total, usable int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return -1, -1, err
	}
	return int64(st.Blocks) * int64(st.Bsize), int64(st.Bavail) * int64(st.Bsize), nil
}
