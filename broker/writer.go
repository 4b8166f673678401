package broker

import (
	"fmt"
	"sync"
	"time"

	"github.com/fanfold/fanfold/log"
)

const (
	// gatherBytes is how much is gathered before it is written.
	gatherBytes = 64 << 10
	// sendfileBytes is from what length on records are handed to the kernel
	// as a range of their file. Below, one more system call costs more than
	// copying (BenchmarkFetch).
	sendfileBytes = 64 << 10
	// stepBytes is how much is sent under one write deadline.
	stepBytes = 1 << 20
)

// answerWriter gathers the answers of a connection and writes them.
type answerWriter struct {
	c   *conn
	buf []byte // not written yet
}

var writerPool = sync.Pool{New: func() any {
	return &answerWriter{buf: make([]byte, 0, 4<<10)}
}}

func newAnswerWriter(c *conn) *answerWriter {
	w := writerPool.Get().(*answerWriter)
	w.c = c
	return w
}

func (w *answerWriter) free() {
	if cap(w.buf) > 2*gatherBytes {
		return // a large one is not kept
	}
	w.c, w.buf = nil, w.buf[:0]
	writerPool.Put(w)
}

// sendRun sends the answers of a list of calls and finishes them. After an
// error it sends no more of them.
func (w *answerWriter) sendRun(run *call) error {
	var err error
	for k := run; k != nil; {
		next := k.next
		if err == nil {
			err = k.answer.send(w, k)
		}
		k.finish()
		if err == nil && len(w.buf) >= gatherBytes {
			err = w.flush()
		}
		k = next
	}
	if err != nil {
		return err
	}
	return w.flush()
}

// flush writes what was gathered.
func (w *answerWriter) flush() error {
	for rest := w.buf; len(rest) > 0; {
		if err := w.extendDeadline(); err != nil {
			return err
		}
		n, err := w.c.nc.Write(rest[:min(len(rest), stepBytes)])
		w.c.srv.metrics.bytesOut.Add(float64(n))
		if err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
		rest = rest[n:]
	}
	w.buf = w.buf[:0]
	return nil
}

// extendDeadline gives the client the write time-out from now on, or at least
// three quarters of it.
func (w *answerWriter) extendDeadline() error {
	timeout := w.c.srv.cfg.WriteTimeout
	now := time.Now()
	if w.c.writeDeadline.Sub(now) > timeout*3/4 {
		return nil
	}
	w.c.writeDeadline = now.Add(timeout)
	return w.c.nc.SetWriteDeadline(w.c.writeDeadline)
}

// sendRange sends stored records, as a file range where that is possible and
// worth it.
func (w *answerWriter) sendRange(r log.Range) error {
	if r.Len() >= sendfileBytes && w.c.raw != nil {
		if sent, err := w.sendFile(r); sent || err != nil {
			return err
		}
	}
	return w.copyRange(r)
}

// copyRange reads stored records into the buffer, writing as it fills.
func (w *answerWriter) copyRange(r log.Range) error {
	for off, rest := int64(0), int64(r.Len()); rest > 0; {
		n := min(rest, gatherBytes)
		at := len(w.buf)
		w.buf = append(w.buf, make([]byte, n)...)
		if _, err := r.ReadAt(w.buf[at:], off); err != nil {
			return fmt.Errorf("read records: %w", err)
		}
		off, rest = off+n, rest-n
		if len(w.buf) >= gatherBytes {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}
