package broker

import (
	"errors"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/fanfold/fanfold/log"
)

// sendFile sends records from their file to the socket within the kernel. It
// sends nothing and says so where there is no file.
func (w *answerWriter) sendFile(r log.Range) (sent bool, err error) {
	file := r.OSFile()
	if file == nil {
		return false, nil
	}
	if err := w.flushMore(); err != nil {
		return true, err
	}
	defer runtime.KeepAlive(file)
	src := int(file.Fd())
	pos, end := r.Pos(), r.Pos()+int64(r.Len())
	for pos < end {
		if err := w.extendDeadline(); err != nil {
			return true, err
		}
		from := pos
		err := w.sendStep(src, &pos, int(min(end-pos, stepBytes)))
		w.c.srv.metrics.bytesOut.Add(float64(pos - from))
		if err != nil {
			return true, fmt.Errorf("send records: %w", err)
		}
	}
	return true, nil
}

// sendStep sends n bytes of the file from *pos on, which it moves. It waits
// while the socket takes none, until the write deadline.
func (w *answerWriter) sendStep(src int, pos *int64, n int) error {
	var failure error
	err := w.c.raw.Write(func(fd uintptr) bool {
		for n > 0 {
			sent, err := unix.Sendfile(int(fd), src, pos, n)
			switch {
			case sent > 0:
				n -= sent
			case errors.Is(err, unix.EINTR):
			case errors.Is(err, unix.EAGAIN):
				return false
			case err != nil:
				failure = err
				return true
			default:
				failure = io.ErrUnexpectedEOF
				return true
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	return failure
}

// flushMore writes what was gathered and lets the kernel wait for what comes at
// once after it, so that both travel together.
func (w *answerWriter) flushMore() error {
	rest := w.buf
	if len(rest) == 0 {
		return nil
	}
	if err := w.extendDeadline(); err != nil {
		return err
	}
	var failure error
	err := w.c.raw.Write(func(fd uintptr) bool {
		for len(rest) > 0 {
			n, err := unix.SendmsgN(int(fd), rest, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
			switch {
			case n > 0:
				rest = rest[n:]
			case errors.Is(err, unix.EINTR):
			case errors.Is(err, unix.EAGAIN):
				return false
			default:
				failure = err
				return true
			}
		}
		return true
	})
	w.c.srv.metrics.bytesOut.Add(float64(len(w.buf) - len(rest)))
	w.buf = w.buf[:0]
	if err == nil {
		err = failure
	}
	if err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}
