package vfs

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// maxIovecs is how many buffers the kernel takes in one pwritev (IOV_MAX).
const maxIovecs = 1024

// Sync is fdatasync: the length and the data, not the time stamps.
func (f *osFile) Sync() error {
	_, err := f.call("fdatasync", func(fd int) (int, error) { return 0, unix.Fdatasync(fd) })
	return err
}

// call repeats a system call on f's descriptor until nothing interrupts it.
// The descriptor stays open meanwhile: closed under a running call, its number
// could be another file's.
func (f *osFile) call(name string, do func(fd int) (int, error)) (n int, err error) {
	conn, err := f.f.SyscallConn()
	if err == nil {
		var callErr error
		err = conn.Control(func(fd uintptr) {
			for {
				if n, callErr = do(int(fd)); callErr != unix.EINTR {
					return
				}
			}
		})
		if err == nil && callErr == nil {
			return n, nil
		}
		if err == nil {
			return max(n, 0), &os.PathError{Op: name, Path: f.f.Name(), Err: callErr}
		}
	}
	return 0, &os.PathError{Op: name, Path: f.f.Name(), Err: fs.ErrClosed}
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
		n, err := f.call("pwritev", func(fd int) (int, error) {
			return unix.Pwritev(fd, chunk, off+int64(total))
		})
		total += n
		if err != nil {
			return total, err
		}
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
