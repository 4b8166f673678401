package interop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// errClosed is a broker's answer that consists in closing the connection.
var errClosed = errors.New("connection closed")

// answerWithin bounds how long a broker takes for one answer.
const answerWithin = 20 * time.Second

// wire is a connection on which requests go out as they are: in the version
// they name, without negotiation, and one at a time.
type wire struct {
	addr      string
	nc        net.Conn // nil: closed; the next request opens it again
	formatter *kmsg.RequestFormatter
	last      int32 // correlation id
}

func newWire(addr string) *wire {
	return &wire{addr: addr, formatter: kmsg.NewRequestFormatter(kmsg.FormatterClientID("differential"))}
}

func (w *wire) close() {
	if w.nc != nil {
		w.nc.Close()
		w.nc = nil
	}
}

// ask sends a request and reads its answer; errClosed is an answer as well.
func (w *wire) ask(req kmsg.Request) (kmsg.Response, error) {
	if err := w.send(req); err != nil {
		return nil, err
	}
	body, err := w.read()
	if err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	if resp.IsFlexible() && resp.Key() != apiVersionsKey {
		if len(body) == 0 || body[0] != 0 {
			return nil, fmt.Errorf("the answer's header has tags: % x", clipped(body))
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("decode answer of %d bytes: %w", len(body), err)
	}
	if again := resp.AppendTo(nil); len(again) != len(body) {
		return resp, fmt.Errorf("the answer has %d bytes, encoded again it has %d:\n% x\n% x", len(body), len(again), clipped(body), clipped(again))
	}
	return resp, nil
}

const apiVersionsKey = 18

func clipped(b []byte) []byte { return b[:min(len(b), 200)] }

// send writes a request.
func (w *wire) send(req kmsg.Request) error {
	w.last++
	return w.write(w.formatter.AppendRequest(nil, req, w.last))
}

// write writes a whole frame.
func (w *wire) write(frame []byte) error {
	if w.nc == nil {
		nc, err := net.Dial("tcp", w.addr)
		if err != nil {
			return err
		}
		w.nc = nc
	}
	if err := w.nc.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	if _, err := w.nc.Write(frame); err != nil {
		w.close()
		return errClosed
	}
	return nil
}

// read reads an answer to the last request and checks its correlation id.
func (w *wire) read() ([]byte, error) {
	if w.nc == nil {
		return nil, errClosed
	}
	var head [4]byte
	if _, err := io.ReadFull(w.nc, head[:]); err != nil {
		return nil, w.failed(err)
	}
	frame := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(w.nc, frame); err != nil {
		return nil, w.failed(err)
	}
	if id := int32(binary.BigEndian.Uint32(frame)); id != w.last {
		return nil, fmt.Errorf("the answer is to request %d, not %d", id, w.last)
	}
	return bytes.Clone(frame[4:]), nil
}

func (w *wire) failed(err error) error {
	w.close()
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("no answer within %v", answerWithin)
	}
	return errClosed
}
