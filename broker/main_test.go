package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/fanfold/fanfold/protocol/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testServer serves a testNode on loopback. When the test ends, it closes the
// server and looks whether everything was given back.
func testServer(t testing.TB, node *testNode, cfg Config) *Server {
	t.Helper()
	cfg.Listeners = []ListenerConfig{{Address: "127.0.0.1:0"}}
	s, err := Listen(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(node)
	t.Cleanup(func() { closeServer(t, s, node) })
	return s
}

// pipeServer serves a testNode over connections that dialPipe makes, without
// the network: for tests in virtual time.
func pipeServer(t testing.TB, node *testNode, cfg Config) *Server {
	t.Helper()
	s := newServer(cfg.withDefaults())
	s.Serve(node)
	return s
}

func closeServer(t testing.TB, s *Server, node *testNode) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	node.releaseAll()
	if used := s.budget.used.Load(); used != 0 {
		t.Errorf("%d bytes of the budget were not given back", used)
	}
	if n := s.produces.Load(); n != 0 {
		t.Errorf("%d produces were not finished", n)
	}
	if n := node.watchers(); n != 0 || s.watched.Load() != 0 {
		t.Errorf("%d fetches still watch partitions", n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.conns) != 0 || len(s.mu.perIP) != 0 || s.mu.fresh != nil {
		t.Errorf("%d connections are still on the books", len(s.mu.conns))
	}
}

// testClient speaks the protocol by hand.
type testClient struct {
	t    testing.TB
	nc   net.Conn
	next int32
}

func dial(t testing.TB, s *Server) *testClient {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr(DefaultListener).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	return &testClient{t: t, nc: nc}
}

// dialPipe connects within the process.
func dialPipe(t testing.TB, s *Server) *testClient {
	t.Helper()
	client, server := net.Pipe()
	s.admit(server, DefaultListener)
	return &testClient{t: t, nc: client}
}

// encode is a request's frame, with its correlation id.
func (c *testClient) encode(req kmsg.Request) ([]byte, int32) {
	c.next++
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, c.next), c.next
}

func (c *testClient) write(b []byte) {
	c.t.Helper()
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatalf("write request: %v", err)
	}
}

// send sends a request and returns its correlation id.
func (c *testClient) send(req kmsg.Request) int32 {
	c.t.Helper()
	b, id := c.encode(req)
	c.write(b)
	return id
}

// receive reads the answer to a request.
func (c *testClient) receive(req kmsg.Request, id int32) kmsg.Response {
	c.t.Helper()
	body := c.frame()
	if got := int32(binary.BigEndian.Uint32(body)); got != id {
		c.t.Fatalf("answer has correlation id %d; want %d", got, id)
	}
	body = body[4:]
	resp := req.ResponseKind()
	if req.IsFlexible() && req.Key() != apiVersionsKey {
		if body[0] != 0 {
			c.t.Fatalf("answer's header has %d tagged fields", body[0])
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		c.t.Fatalf("decode answer of %T version %d: %v", resp, req.GetVersion(), err)
	}
	return resp
}

// ask sends a request and reads its answer.
func (c *testClient) ask(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	return c.receive(req, c.send(req))
}

// hasAnswer tells whether an answer comes within some milliseconds.
func (c *testClient) hasAnswer() bool {
	c.t.Helper()
	_ = c.nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	defer c.nc.SetReadDeadline(time.Now().Add(20 * time.Second))
	var one [1]byte
	n, err := c.nc.Read(one[:])
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal(err)
	}
	return n > 0
}

// frame reads one frame.
func (c *testClient) frame() []byte {
	c.t.Helper()
	var size [4]byte
	if _, err := io.ReadFull(c.nc, size[:]); err != nil {
		c.t.Fatalf("read answer: %v", err)
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c.nc, body); err != nil {
		c.t.Fatalf("read answer of %d bytes: %v", len(body), err)
	}
	return body
}

// closed waits until the server has closed the connection.
func (c *testClient) closed() {
	c.t.Helper()
	if n, err := c.nc.Read(make([]byte, 1)); err == nil || n > 0 {
		c.t.Fatal("the connection is answered; want it closed")
	} else if ne := net.Error(nil); asNetError(err, &ne) && ne.Timeout() {
		c.t.Fatal("the connection is still open")
	}
}

func asNetError(err error, target *net.Error) bool {
	ne, ok := err.(net.Error)
	if ok {
		*target = ne
	}
	return ok
}

// ask sends a request and gives its answer.
func ask[R kmsg.Response](c *testClient, version int16, req kmsg.Request) R {
	c.t.Helper()
	req.SetVersion(version)
	return c.receive(req, c.send(req)).(R)
}

// testBatch is a batch with these values.
func testBatch(t testing.TB, values ...string) []byte {
	t.Helper()
	return codecBatch(t, record.None, values...)
}

func codecBatch(t testing.TB, codec record.Codec, values ...string) []byte {
	t.Helper()
	b, err := record.NewBuilder(codec, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		b.Append(1_700_000_000_000+int64(i), nil, []byte(v), nil)
	}
	raw, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// valuesOf reads the values of all records of a fetched partition.
func valuesOf(t testing.TB, raw []byte) []string {
	t.Helper()
	var values []string
	for len(raw) > 0 {
		h, err := record.Validate(raw[:12+binary.BigEndian.Uint32(raw[8:])])
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range record.Records(raw[:h.Bytes()], record.Limits{}) {
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, string(r.Value))
		}
		raw = raw[h.Bytes():]
	}
	return values
}

// eventually polls until ok, or fails the test.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within 10 seconds", what)
		case <-tick.C:
		}
	}
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
