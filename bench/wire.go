package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// wire is a connection on which one request at a time is sent and answered.
type wire struct {
	conn   net.Conn
	in     *bufio.Reader
	format *kmsg.RequestFormatter
	out    []byte
}

func dialWire(ctx context.Context, address string) (*wire, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return newWire(conn), nil
}

func newWire(conn net.Conn) *wire {
	return &wire{conn: conn, in: bufio.NewReader(conn), format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench"))}
}

func (w *wire) Close() error { return w.conn.Close() }

// mostAnswerBytes bounds an answer.
const mostAnswerBytes = 64 << 20

// ask sends a request, whose version is set, and returns its answer.
func (w *wire) ask(req kmsg.Request) (kmsg.Response, error) {
	if err := w.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return nil, err
	}
	w.out = w.format.AppendRequest(w.out[:0], req, 0)
	if _, err := w.conn.Write(w.out); err != nil {
		return nil, fmt.Errorf("write request: %w", err)
	}
	return w.answer(req)
}

// answer reads the answer to a request that was sent.
func (w *wire) answer(req kmsg.Request) (kmsg.Response, error) {
	var head [8]byte
	if _, err := io.ReadFull(w.in, head[:]); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 5 || n > mostAnswerBytes {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	body := make([]byte, n-4)
	if _, err := io.ReadFull(w.in, body); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if resp.IsFlexible() {
		body = body[1:] // no tagged fields in the header
	}
	return resp, resp.ReadFrom(body)
}

// findCoordinator returns the address of a group's coordinator. It asks again
// while the broker does not know it yet.
func findCoordinator(ctx context.Context, address, group string) (string, error) {
	w, err := dialWire(ctx, address)
	if err != nil {
		return "", err
	}
	defer w.Close()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.Version, req.CoordinatorKey = 1, group
	for {
		answer, err := w.ask(req)
		if err != nil {
			return "", err
		}
		resp := answer.(*kmsg.FindCoordinatorResponse)
		err = kerr.ErrorForCode(resp.ErrorCode)
		if err == nil {
			return net.JoinHostPort(resp.Host, strconv.Itoa(int(resp.Port))), nil
		}
		if !kerr.IsRetriable(err) {
			return "", fmt.Errorf("find the coordinator of %s: %w", group, err)
		}
		if gone := pause(ctx, time.Now().Add(20*time.Millisecond), nil); gone != nil {
			return "", errors.Join(gone, err)
		}
	}
}
