package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// headerBytes is what every request begins with: key, version, correlation id.
const headerBytes = 8

// requestOverhead is what a request takes beside its bytes, as the budget counts
// it: it bounds how many small ones are in flight.
const requestOverhead = 1 << 10

// fetchCost is how many times the size of its request a Fetch takes.
const fetchCost = 16

// readAheadBytes is how much of a connection is read at once while it is not
// known what comes. A small request comes whole with one read; an idle
// connection costs no more than this.
const readAheadBytes = 1 << 10

// While others wait for the budget, a request that has room in it has to come
// at stallBytes each stallWindow.
const (
	stallWindow = time.Second
	stallBytes  = 1 << 20
)

// conn is one client's connection. Its reader goroutine parses requests and
// starts them; what completes later does so through complete; answers are
// written in the order of requests by whoever finds the first one done: the
// reader before it waits for more, or a goroutine started for it.
type conn struct {
	srv      *Server
	nc       net.Conn
	raw      syscall.RawConn // nil where nc is no TCP connection
	listener string
	ip       netip.Addr
	ctx      context.Context // ends when the connection is given up
	cancel   context.CancelFunc

	// The reader's own.
	ahead      [readAheadBytes]byte
	start, end int  // what of ahead is not used yet
	known      bool // a valid request was read

	draining atomic.Bool // no more requests are to be read

	mu struct {
		sync.Mutex
		first, last *call // not answered, in order of requests
		calls       int
		done        int  // of them, ready to be answered
		writing     bool // someone writes the answers that are done
		closed      bool // nothing is read or written any more
		detached    bool // calls that complete from now on are finished at once

		queueFirst, queueLast *call // wait for the queue's goroutine
		queueRuns             bool
	}
	changed sync.Cond // of mu: calls or writing went down, or closed was set

	// The writer's own, handed over under mu.
	writeDeadline time.Time

	// Links of the server's list of connections that sent nothing valid yet.
	freshPrev, freshNext *conn
}

// Why a connection ends, where it is not the client that ends it.
var (
	errDraining = errors.New("the broker stops")
	errIdle     = errors.New("idle for too long")
)

// badInput is an error of the client: it is logged, at a limited rate.
type badInput struct{ cause string }

func (e *badInput) Error() string { return e.cause }

func badInputf(format string, args ...any) error {
	return &badInput{fmt.Sprintf(format, args...)}
}

func newConn(s *Server, nc net.Conn, listener string) *conn {
	c := &conn{srv: s, nc: nc, listener: listener, ip: addressOf(nc)}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.changed.L = &c.mu
	if tcp, ok := nc.(*net.TCPConn); ok {
		if n := s.cfg.SendBufferBytes; n > 0 {
			_ = tcp.SetWriteBuffer(n) // it works without
		}
		if raw, err := tcp.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	return c
}

func addressOf(nc net.Conn) netip.Addr {
	if at, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return at.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// serve runs the connection until it ends. It returns when nothing of it is
// left but goroutines that the server waits for.
func (c *conn) serve() {
	err := c.readRequests()
	var bad *badInput
	if errors.As(err, &bad) {
		c.srv.metrics.hostile.Inc()
		c.srv.hostile.log(c.nc.RemoteAddr().String(), bad.cause)
	} else if !errors.Is(err, io.EOF) {
		c.srv.log.Debug("connection ends", "peer", c.nc.RemoteAddr().String(), "cause", err)
	}
	if bad != nil || errors.Is(err, errDraining) {
		c.drain()
	}
	c.teardown()
}

// readRequests reads and starts requests until the connection ends.
func (c *conn) readRequests() error {
	for {
		size, err := c.nextFrame()
		if err != nil {
			return err
		}
		if err := c.readRequest(size); err != nil {
			return err
		}
	}
}

// nextFrame waits for the next request and returns its size. So much of it is
// then in ahead that its key and version are known.
func (c *conn) nextFrame() (int, error) {
	if err := c.awaitRoom(); err != nil {
		return 0, err
	}
	for c.end-c.start < 4 {
		if err := c.waitForRequest(); err != nil {
			return 0, err
		}
	}
	size := int(int32(binary.BigEndian.Uint32(c.ahead[c.start:])))
	if size < headerBytes || size > c.srv.cfg.MaxRequestBytes {
		return 0, badFrameSize(c.ahead[c.start:c.end], size, c.srv.cfg.MaxRequestBytes)
	}
	c.start += 4
	if err := c.fill(headerBytes, c.frameDeadline(0)); err != nil {
		return 0, fmt.Errorf("read request header: %w", err)
	}
	return size, nil
}

// waitForRequest reads what comes next. It waits as long as something is not
// answered yet.
func (c *conn) waitForRequest() error {
	partial := c.end > c.start
	deadline := c.frameDeadline(0)
	if !partial {
		deadline = c.idleDeadline()
	}
	if err := c.fill(c.end-c.start+1, deadline); err != nil {
		if !partial && errors.Is(err, os.ErrDeadlineExceeded) && c.stillBusy() {
			return nil
		}
		return err
	}
	return nil
}

// idleDeadline is when a connection without a request is closed.
func (c *conn) idleDeadline() time.Time {
	switch {
	case !c.known:
		return time.Now().Add(c.srv.cfg.FirstRequestTimeout)
	case c.srv.cfg.IdleTimeout < 0:
		return time.Time{}
	default:
		return time.Now().Add(c.srv.cfg.IdleTimeout)
	}
}

// frameDeadline is when a frame of which n bytes are missing has to be here.
func (c *conn) frameDeadline(n int) time.Time {
	perRate := time.Duration(int64(n) * int64(time.Second) / c.srv.cfg.MinReceiveRate)
	return time.Now().Add(c.srv.cfg.FrameTimeout + perRate)
}

func (c *conn) stillBusy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.calls > 0 && !c.draining.Load()
}

// fill reads until at least n bytes are ahead. What is done is answered before
// it waits.
func (c *conn) fill(n int, deadline time.Time) error {
	if c.end-c.start >= n {
		return nil
	}
	c.writeAnswers()
	if c.start > 0 {
		c.end = copy(c.ahead[:], c.ahead[c.start:c.end])
		c.start = 0
	}
	if err := c.setReadDeadline(deadline); err != nil {
		return err
	}
	for c.end < n {
		got, err := c.nc.Read(c.ahead[c.end:])
		c.end += got
		c.srv.metrics.bytesIn.Add(float64(got))
		if err != nil && c.end < n {
			return c.readError(err)
		}
	}
	return nil
}

// setReadDeadline sets the deadline and then looks whether the connection is
// to be drained: drain sets its flag first and a passed deadline afterwards, so
// that one of the two is seen.
func (c *conn) setReadDeadline(t time.Time) error {
	if err := c.nc.SetReadDeadline(t); err != nil {
		return err
	}
	if c.draining.Load() {
		return errDraining
	}
	return nil
}

func (c *conn) readError(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if c.draining.Load() {
		return errDraining
	}
	return fmt.Errorf("%w: %w", errIdle, err)
}

// readRequest reads the rest of a frame and starts its request. Before a byte
// of it is kept, its key and version have to allow its size, and its bytes are
// counted.
func (c *conn) readRequest(size int) error {
	key := int16(binary.BigEndian.Uint16(c.ahead[c.start:]))
	version := int16(binary.BigEndian.Uint16(c.ahead[c.start+2:]))
	if limit := c.srv.frameLimit(key, version); size > limit {
		return badInputf("a request of key %d version %d has %d bytes; at most %d are taken", key, version, size, limit)
	}
	f, granted, err := c.receive(size, key)
	if err != nil {
		return err
	}
	return c.dispatch(f, granted)
}

// receive reads a frame. A connection that has not sent anything valid yet gets
// no more memory than it fills: a large frame has to begin before there is room
// made for all of it.
func (c *conn) receive(size int, key int16) (f *frame, granted int64, err error) {
	if c.known || size <= firstFrameBytes {
		return c.receiveAfter(nil, size, key)
	}
	first, granted, err := c.receiveAfter(nil, firstFrameBytes, key)
	if err != nil {
		return nil, 0, err
	}
	defer first.free()
	c.srv.releaseBytes(granted) // whoever waits for more holds nothing
	return c.receiveAfter(first.data, size, key)
}

// receiveAfter reads a frame of which a beginning is there.
func (c *conn) receiveAfter(first []byte, size int, key int16) (f *frame, granted int64, err error) {
	cost := int64(size)
	if key == fetchKey {
		cost *= fetchCost
	}
	granted, err = c.acquire(cost + requestOverhead)
	if err != nil {
		return nil, 0, err
	}
	f = newFrame(size)
	if err := c.readFrame(f.data[copy(f.data, first):]); err != nil {
		f.free()
		c.srv.releaseBytes(granted)
		return nil, 0, err
	}
	return f, granted, nil
}

// acquire takes bytes of the budget. What is done is answered before it waits.
func (c *conn) acquire(n int64) (granted int64, err error) {
	granted, ok := c.srv.budget.tryAcquire(n)
	if !ok {
		if granted, ok = c.srv.reserve(n); ok {
			return granted, nil
		}
		c.writeAnswers()
		if granted, ok = c.srv.budget.acquire(n, c.ctx.Done()); !ok {
			return 0, net.ErrClosed
		}
	}
	return granted, nil
}

// readFrame fills p with what is ahead and what comes after it.
func (c *conn) readFrame(p []byte) error {
	n := copy(p, c.ahead[c.start:c.end])
	c.start += n
	if n == len(p) {
		return nil
	}
	c.writeAnswers()
	last := c.frameDeadline(len(p) - n)
	for n < len(p) {
		window := time.Now().Add(stallWindow)
		if window.After(last) {
			window = last
		}
		if err := c.setReadDeadline(window); err != nil {
			return err
		}
		got, err := io.ReadAtLeast(c.nc, p[n:], min(len(p)-n, stallBytes))
		n += got
		c.srv.metrics.bytesIn.Add(float64(got))
		stalled := errors.Is(err, os.ErrDeadlineExceeded) && !c.draining.Load() && time.Now().Before(last)
		switch {
		case err == nil:
		case stalled && c.srv.budget.contended():
			return badInputf("a request of %d bytes comes too slowly while others wait for the room that it takes (queued.max.request.bytes)", len(p))
		case !stalled:
			return c.readError(err)
		}
	}
	return nil
}

// awaitRoom waits until the connection has fewer unanswered requests than it
// may have.
func (c *conn) awaitRoom() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.mu.calls >= c.srv.cfg.MaxPipelined && !c.mu.closed {
		if c.claimWriter() {
			c.mu.Unlock()
			c.writeDone()
			c.mu.Lock()
			continue
		}
		c.changed.Wait()
	}
	if c.mu.closed {
		return net.ErrClosed
	}
	return nil
}

// stopReading makes the reader stop before the next request, or in the middle
// of it.
func (c *conn) stopReading() {
	c.draining.Store(true)
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // fails only where the connection is closed
}

// drain answers what was begun: waiting fetches at once, all else as it comes,
// until the drain time-out.
func (c *conn) drain() {
	timer := time.AfterFunc(c.srv.cfg.DrainTimeout, c.abort)
	defer timer.Stop()
	c.wakeFetches()
	c.writeAnswers()
	c.mu.Lock()
	defer c.mu.Unlock()
	for (c.mu.calls > 0 || c.mu.writing) && !c.mu.closed {
		c.changed.Wait()
	}
}

// abort closes the connection under whoever reads or writes it.
func (c *conn) abort() {
	c.mu.Lock()
	c.markClosed()
	c.mu.Unlock()
	_ = c.nc.Close()
}

// markClosed says that nothing is written any more. Callers hold mu.
func (c *conn) markClosed() {
	if !c.mu.closed {
		c.mu.closed = true
		c.cancel()
		c.changed.Broadcast()
	}
}

// teardown ends the connection: what is done and was not written is dropped,
// what waits is cancelled, and what is under way is dropped when it completes.
func (c *conn) teardown() {
	c.abort()
	c.mu.Lock()
	for c.mu.writing {
		c.changed.Wait()
	}
	for k := c.mu.queueFirst; k != nil; k = k.queueNext {
		k.done = true // it will not run
	}
	c.mu.queueFirst, c.mu.queueLast = nil, nil
	var drop []*call
	var waits []*fetchWait
	for k := c.mu.first; k != nil; k = k.next {
		if k.done {
			drop = append(drop, k)
		} else if k.wait != nil {
			waits = append(waits, k.wait)
		}
	}
	c.mu.first, c.mu.last, c.mu.calls = nil, nil, 0
	c.mu.detached = true
	c.mu.Unlock()
	for _, k := range drop {
		k.finish()
	}
	for _, w := range waits {
		w.wake()
	}
	c.srv.forget(c)
}

// badFrameSize says what came instead of a request's length. What other
// protocols begin with is named, since that is the usual cause.
func badFrameSize(head []byte, size, limit int) error {
	switch {
	case size < 0 || size < headerBytes:
		return badInputf("a request cannot have %d bytes", size)
	case head[0] == 0x16 && len(head) > 1 && head[1] == 0x03:
		return badInputf("TLS spoken to a plaintext listener")
	case isHTTP(head):
		return badInputf("HTTP spoken to the Kafka listener")
	default:
		return badInputf("a request of %d bytes; at most %d are taken (socket.request.max.bytes)", size, limit)
	}
}

func isHTTP(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	switch string(head[:4]) {
	case "GET ", "POST", "HEAD", "PUT ", "OPTI", "DELE", "CONN", "PRI ":
		return true
	}
	return false
}
