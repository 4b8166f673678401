package log

import (
	"os"
	"syscall"

	"github.com/fanfold/fanfold/internal/vfs"
)

// wholeFromDefault is where one syncfs costs less than an fdatasync for each
// file.
const wholeFromDefault = 64

// writebackError is the error, if any, of writing f's pages since it was asked
// for last: waiting for pages under way waits for none here, writes nothing,
// and reports what fdatasync would (errseq in Linux's mm/filemap.c).
func writebackError(f vfs.File) error {
	file := f.OSFile()
	if file == nil {
		return nil
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	const waitBefore = 1 // SYNC_FILE_RANGE_WAIT_BEFORE
	var syncErr error
	if err := conn.Control(func(fd uintptr) {
		for {
			if syncErr = syscall.SyncFileRange(int(fd), 0, 0, waitBefore); syncErr != syscall.EINTR {
				return
			}
		}
	}); err != nil {
		return err
	}
	if syncErr != nil {
		return &os.PathError{Op: "sync_file_range", Path: f.Name(), Err: syncErr}
	}
	return nil
}
