package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// maxIovecs is how many buffers the kernel takes in one pwritev (IOV_MAX).
const maxIovecs = 1024

// Sync is fdatasync: the length and the data, not the time stamps.
func (f *osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.f.Fd()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "fdatasync", Path: f.f.Name(), Err: err}
		}
		return nil
	}
}

// WritevAt is pwritev, repeated until all is written.
func (f *osFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	if len(bufs) == 1 {
		return f.f.WriteAt(bufs[0], off)
	}
	var total int
	for len(bufs) > 0 {
		chunk := bufs[:min(len(bufs), maxIovecs)]
		want := 0
		for _, b := range chunk {
			want += len(b)
		}
		n, err := unix.Pwritev(int(f.f.Fd()), chunk, off+int64(total))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return total, &os.PathError{Op: "pwritev", Path: f.f.Name(), Err: err}
		}
		total += n
		if n < want {
			m, err := f.writeRest(chunk, n, off+int64(total-n))
			total += m
			if err != nil {
				return total, err
			}
		}
		bufs = bufs[len(chunk):]
	}
	return total, nil
}

// writeRest writes what a short pwritev of chunk left after its first done
// bytes; WriteAt returns an error where it cannot write all.
func (f *osFile) writeRest(chunk [][]byte, done int, off int64) (int, error) {
	var pos, total int
	for _, b := range chunk {
		if start := max(done-pos, 0); start < len(b) {
			n, err := f.f.WriteAt(b[start:], off+int64(pos+start))
			total += n
			if err != nil {
				return total, err
			}
		}
		pos += len(b)
	}
	return total, nil
}

func (osFS) SyncFS(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: dir, Err: err}
	}
	return nil
}
