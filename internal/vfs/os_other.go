//go:build !linux

package vfs

import (
	"errors"
	"io"
	"os"
)

func (f *osFile) Sync() error { return f.f.Sync() }

func (f *osFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	return writevLoop(f.f, bufs, off)
}

func (osFS) SyncFS(dir string) error {
	return &os.PathError{Op: "syncfs", Path: dir, Err: errors.ErrUnsupported}
}

// writevLoop is WritevAt where the system has no pwritev.
func writevLoop(f io.WriterAt, bufs [][]byte, off int64) (int, error) {
	var total int
	for _, b := range bufs {
		n, err := f.WriteAt(b, off+int64(total))
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
