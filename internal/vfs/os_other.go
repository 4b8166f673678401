//go:build !linux

package vfs

import (
	"errors"
	"os"
)

func (f *osFile) Sync() error { return f.f.Sync() }

func (f *osFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	return writevLoop(f.f, bufs, off)
}

func (osFS) SyncFS(dir string) error {
	return &os.PathError{Op: "syncfs", Path: dir, Err: errors.ErrUnsupported}
}
