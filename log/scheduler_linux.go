package log

import (
	"os"
	"syscall"

	"github.com/fanfold/fanfold/internal/vfs"
)

// wholeFromDefault is from how many files on one syncfs is made for all. On a
// 2-core machine with ext4 a round over so many files costs (BenchmarkSyncMany)
//
//	files       8     16     32     64    128    512
//	fdatasync  0.7 ms 2.0    2.2    4.3   17     36      CPU 0.5 ms to 35 ms
//	syncfs     0.7 ms 0.6    1.0    1.8   3.0    9.5     CPU 0.2 ms to 4 ms
const wholeFromDefault = 2

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
