package groupdiff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// answerWithin bounds how long a broker takes for an answer that does not wait
// for other members.
const answerWithin = 10 * time.Second

// wire is a connection on which requests go out in the version they name. An
// answer may come much later: a goroutine reads them, in the order of requests.
type wire struct {
	nc        net.Conn
	formatter *kmsg.RequestFormatter
	done      sync.WaitGroup

	mu     sync.Mutex
	last   int32
	calls  []*call // not answered
	failed error
}

// call is a request that was sent.
type call struct {
	req         kmsg.Request
	correlation int32
	done        chan struct{} // closed when resp and err are set
	resp        kmsg.Response
	err         error
}

func (c *call) answered() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func dial(addr, clientID string) (*wire, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	w := &wire{nc: nc, formatter: kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID))}
	w.done.Go(w.readAnswers)
	return w, nil
}

func (w *wire) close() {
	w.nc.Close()
	w.done.Wait()
}

// send sends a request and does not wait for its answer.
func (w *wire) send(req kmsg.Request) (*call, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		return nil, w.failed
	}
	w.last++
	c := &call{req: req, correlation: w.last, done: make(chan struct{})}
	w.calls = append(w.calls, c)
	_, err := w.nc.Write(w.formatter.AppendRequest(nil, req, w.last))
	return c, err
}

// ask sends a request and waits for its answer.
func (w *wire) ask(req kmsg.Request) (kmsg.Response, error) {
	c, err := w.send(req)
	if err != nil {
		return nil, err
	}
	select {
	case <-c.done:
		return c.resp, c.err
	case <-time.After(answerWithin):
		return nil, fmt.Errorf("%s v%d: no answer within %v", kmsg.NameForKey(req.Key()), req.GetVersion(), answerWithin)
	}
}

func (w *wire) readAnswers() {
	for {
		frame, err := readFrame(w.nc)
		w.mu.Lock()
		if err != nil {
			w.failed = err
			for _, c := range w.calls {
				c.err = err
				close(c.done)
			}
			w.calls = nil
			w.mu.Unlock()
			return
		}
		var c *call
		if len(w.calls) > 0 {
			c, w.calls = w.calls[0], w.calls[1:]
		}
		w.mu.Unlock()
		if c == nil {
			continue // nothing was asked: the next request fails by its correlation id
		}
		c.resp, c.err = decode(c, frame)
		close(c.done)
	}
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(r, frame)
	return frame, err
}

func decode(c *call, frame []byte) (kmsg.Response, error) {
	if len(frame) < 4 {
		return nil, errors.New("an answer without a header")
	}
	if id := int32(binary.BigEndian.Uint32(frame)); id != c.correlation {
		return nil, fmt.Errorf("the answer is to request %d, not %d", id, c.correlation)
	}
	body := frame[4:]
	resp := c.req.ResponseKind()
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("the answer's header has tags")
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("decode answer of %d bytes: %w", len(body), err)
	}
	return resp, nil
}
