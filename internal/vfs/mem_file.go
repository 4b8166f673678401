package vfs

import (
	"io"
	"io/fs"
	"os"
)

// memFile is an open file of a [Mem]. Its fields but closed never change;
// closed is guarded by fs.mu.
type memFile struct {
	fs       *Mem
	node     *memNode
	name     string
	writable bool
	closed   bool
}

func (f *memFile) Name() string     { return f.name }
func (f *memFile) OSFile() *os.File { return nil }

// usable is why the file cannot be used, or nil.
func (f *memFile) usable(op string, write bool, off int64) error {
	switch {
	case f.fs.dead:
		return pathError(op, f.name, ErrCrashed)
	case f.closed:
		return pathError(op, f.name, fs.ErrClosed)
	case write && !f.writable:
		return pathError(op, f.name, fs.ErrPermission)
	case off < 0:
		return pathError(op, f.name, fs.ErrInvalid)
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if err := f.usable("read", false, off); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.usable("write", true, off); err != nil {
		return 0, err
	}
	f.fs.write(f.node, p, off)
	return len(p), nil
}

// WritevAt makes one write of each buffer: a crash may part them.
func (f *memFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.usable("write", true, off); err != nil {
		return 0, err
	}
	var total int
	for _, b := range bufs {
		f.fs.write(f.node, b, off+int64(total))
		total += len(b)
	}
	return total, nil
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if err := f.usable("stat", false, 0); err != nil {
		return 0, err
	}
	return int64(len(f.node.data)), nil
}

func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.usable("truncate", true, size); err != nil {
		return err
	}
	f.fs.truncate(f.node, size)
	return nil
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.usable("sync", false, 0); err != nil {
		return err
	}
	f.fs.syncFile(f.node)
	return nil
}

// FailSync is a Sync that fails as Linux's may: of the unsynced data some is
// on disk and the rest never will be, since its pages count as clean from now
// on; reads still show it, until a crash. [Errors] calls it where it makes a
// Sync fail.
func (f *memFile) FailSync() {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.usable("sync", false, 0) == nil {
		f.fs.failSync(f.node)
	}
}

func (f *memFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.usable("close", false, 0); err != nil {
		return err
	}
	f.closed = true
	return nil
}
