package broker

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// frameOf is a frame with that key and version and a body.
func frameOf(key, version int16, body ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, 77)
	return append(b, body...)
}

// syncBuffer takes what is logged.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestBadInputClosesTheConnection(t *testing.T) {
	size := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	hugeFetch := append(size(20<<20), frameOf(1, 12)[4:]...)
	cases := []struct {
		what  string
		input []byte
		cause string
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: kafka\r\n\r\n"), "HTTP spoken"},
		{"TLS", []byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03}, "TLS spoken"},
		{"a negative length", size(0xffffffff), "cannot have -1 bytes"},
		{"a length of nothing", size(0), "cannot have 0 bytes"},
		{"a length above the limit", size(200 << 20), "socket.request.max.bytes"},
		{"a Fetch far too large", hugeFetch, "at most 16777216 are taken"},
		{"an unknown key that is large", append(size(1<<20), frameOf(1000, 0)[4:]...), "at most 65536 are taken"},
		{"an unknown key", frameOf(1000, 0, 0, 0), "key 1000 version 0 is not served"},
		{"a negative key", frameOf(-3, 0, 0, 0), "is not served"},
		{"an unknown version", frameOf(1, 99, 0, 0, 0), "key 1 version 99"},
		{"a negative version", frameOf(3, -1, 0, 0), "is not served"},
		{"a version of long ago", frameOf(1, 0, 0xff, 0xff), "key 1 version 0, which is not served"},
		{"a body that is cut short", frameOf(3, 9, 0xff, 0xff, 0, 9), "Metadata v9"},
		{"a body with a count it cannot hold", frameOf(3, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff), "Metadata v1"},
		{"a Produce that is cut short", frameOf(0, 9, 0xff, 0xff, 0, 0), "Produce v9"},
		{"a Fetch that is cut short", frameOf(1, 12, 0xff, 0xff, 0, 1), "Fetch v12"},
		{"a header that is cut short", frameOf(3, 9, 0), "header"},
	}
	node := newTestNode(t)
	for _, tc := range cases {
		t.Run(tc.what, func(t *testing.T) {
			var logged syncBuffer
			s := testServer(t, node, Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
			c := dial(t, s)
			c.write(tc.input)
			c.closed()
			if text := logged.String(); !strings.Contains(text, tc.cause) || !strings.Contains(text, c.nc.LocalAddr().String()) {
				t.Errorf("logged %q; want %q and the peer", text, tc.cause)
			}
		})
	}
}

// What was asked before the bad input is answered first.
func TestAnswersComeBeforeTheEnd(t *testing.T) {
	node := newTestNode(t)
	s := testServer(t, node, Config{})
	c := dial(t, s)
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.SetVersion(9)
	good, id := c.encode(metadata)
	c.write(append(good, "garbage, garbage, garbage"...))
	c.receive(metadata, id)
	c.closed()
}

func TestHostileInputIsLoggedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged syncBuffer
		l := newRateLog(slog.New(slog.NewTextHandler(&logged, nil)))
		for range 100 {
			l.log("peer", "cause")
		}
		<-time.After(time.Second)
		l.log("peer", "cause")
		if text := logged.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "omitted=99") {
			t.Errorf("logged %q", text)
		}
	})
}

func TestUnservedVersionsAreAnsweredWhereThereIsRoom(t *testing.T) {
	node := newTestNode(t)
	s := testServer(t, node, Config{})
	t.Run("ApiVersions of the future", func(t *testing.T) {
		c := dial(t, s)
		c.write(frameOf(18, 99, 1, 2, 3))
		body := c.frame()
		var resp kmsg.ApiVersionsResponse
		must(t, resp.ReadFrom(body[4:])) // version 0
		if resp.ErrorCode != kerr.UnsupportedVersion.Code || len(resp.ApiKeys) != 1 || resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MaxVersion != 5 {
			t.Errorf("answered %+v", resp)
		}
		again := kmsg.NewPtrApiVersionsRequest() // the connection stays
		again.ClientSoftwareName, again.ClientSoftwareVersion = "a", "1"
		ask[*kmsg.ApiVersionsResponse](c, 3, again)
	})
	t.Run("a key that comes later", func(t *testing.T) {
		c := dial(t, s)
		req := kmsg.NewPtrEndTxnRequest()
		req.TransactionalID = "transaction"
		resp := ask[*kmsg.EndTxnResponse](c, 2, req)
		if resp.ErrorCode != kerr.UnsupportedVersion.Code {
			t.Errorf("answered %+v", resp)
		}
	})
	t.Run("a version of long ago", func(t *testing.T) {
		c := dial(t, s)
		req := kmsg.NewPtrFetchRequest()
		req.SetVersion(2)
		c.send(req)
		c.closed()
	})
}

// timeoutCase is a connection that does something and is closed after a time.
func checkTimeout(t *testing.T, cfg Config, want time.Duration, do func(c *testClient)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		node := newTestNode(t)
		node.topic("t", 1, nil)
		s := pipeServer(t, node, cfg)
		c := dialPipe(t, s)
		do(c)
		began := time.Now()
		n, err := c.nc.Read(make([]byte, 1))
		if n > 0 || err != io.EOF {
			t.Errorf("read %d bytes, %v; want the end", n, err)
		}
		if took := time.Since(began); took != want {
			t.Errorf("closed after %v; want %v", took, want)
		}
		closeServer(t, s, node)
	})
}

func TestSilentClientsAreClosed(t *testing.T) {
	cfg := Config{FirstRequestTimeout: 3 * time.Second, IdleTimeout: time.Minute, FrameTimeout: 10 * time.Second, MinReceiveRate: 1 << 10}
	t.Run("nothing", func(t *testing.T) {
		checkTimeout(t, cfg, 3*time.Second, func(*testClient) {})
	})
	t.Run("nothing after a request", func(t *testing.T) {
		checkTimeout(t, cfg, time.Minute, func(c *testClient) {
			ask[*kmsg.MetadataResponse](c, 9, kmsg.NewPtrMetadataRequest())
		})
	})
	t.Run("half a length", func(t *testing.T) {
		checkTimeout(t, cfg, 10*time.Second, func(c *testClient) { c.write([]byte{0, 0}) })
	})
	t.Run("half a header", func(t *testing.T) {
		checkTimeout(t, cfg, 10*time.Second, func(c *testClient) { c.write(frameOf(3, 9)[:9]) })
	})
	t.Run("half a body", func(t *testing.T) {
		// 2 KiB at 1 KiB a second more than the 10 seconds.
		body := frameOf(0, 9, make([]byte, 2048+6)...)
		checkTimeout(t, cfg, 12*time.Second, func(c *testClient) { c.write(body[:12+6]) })
	})
}

// A client that waits for an answer is not idle.
func TestWaitingIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := newTestNode(t)
		node.topic("t", 1, nil)
		s := pipeServer(t, node, Config{IdleTimeout: time.Second})
		c := dialPipe(t, s)
		req := fetchRequest(12, node, "t", 0)
		req.MaxWaitMillis = 30_000
		c.receive(req, c.send(req))
		_ = c.nc.Close()
		closeServer(t, s, node)
	})
}

// A client that asks and never reads is closed after the write time-out, and
// what it asked for does not pile up.
func TestClientsThatNeverReadAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := newTestNode(t)
		s := pipeServer(t, node, Config{WriteTimeout: 5 * time.Second, MaxPipelined: 10})
		c := dialPipe(t, s)
		began := time.Now()
		sent := 0
		for ; sent < 1000; sent++ {
			b, _ := c.encode(kmsg.NewPtrMetadataRequest())
			if _, err := c.nc.Write(b); err != nil {
				break
			}
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("closed after %v; want 5 s", took)
		}
		// What is read ahead comes to the pipelined ones.
		if most := 10 + readAheadBytes/20 + 1; sent > most {
			t.Errorf("%d requests were taken; want at most %d", sent, most)
		}
		closeServer(t, s, node)
	})
}

// The budget holds up requests until there is room, and lets those pass alone
// that are larger than all of it.
func TestRequestsWaitForTheBudget(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	r := node.replica("t", 0)
	r.setHold(true)
	s := testServer(t, node, Config{MaxQueuedBytes: 64 << 10})
	large := testBatch(t, strings.Repeat("x", 40<<10))
	first, second, third := dial(t, s), dial(t, s), dial(t, s)
	reqs := []*kmsg.ProduceRequest{
		produceRequest("t", 0, -1, large),
		produceRequest("t", 0, -1, bytes.Clone(large)),
		produceRequest("t", 0, -1, testBatch(t, strings.Repeat("y", 100<<10))),
	}
	var ids []int32
	for i, c := range []*testClient{first, second, third} {
		ids = append(ids, c.send(reqs[i]))
		if i == 0 {
			eventually(t, "the first batch is there", func() bool { return r.heldBatches() == 1 })
		}
	}
	eventually(t, "the others wait", func() bool {
		s.budget.mu.Lock()
		defer s.budget.mu.Unlock()
		return s.budget.mu.head != nil && s.budget.mu.head.next != nil
	})
	if n := r.heldBatches(); n != 1 {
		t.Errorf("%d batches were taken; want 1", n)
	}
	r.setHold(false)
	for i, c := range []*testClient{first, second, third} {
		if p := producedPartition(t, c.receive(reqs[i], ids[i])); p.ErrorCode != 0 {
			t.Errorf("request %d is answered %v", i, kerr.ErrorForCode(p.ErrorCode))
		}
	}
}

func TestConnectionLimits(t *testing.T) {
	t.Run("an address", func(t *testing.T) {
		s := testServer(t, newTestNode(t), Config{MaxConnectionsPerIP: 2})
		a, b := dial(t, s), dial(t, s)
		ask[*kmsg.MetadataResponse](a, 9, kmsg.NewPtrMetadataRequest())
		ask[*kmsg.MetadataResponse](b, 9, kmsg.NewPtrMetadataRequest())
		dial(t, s).closed()
		_ = a.nc.Close()
		eventually(t, "there is room", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.mu.conns) < 2
		})
		ask[*kmsg.MetadataResponse](dial(t, s), 9, kmsg.NewPtrMetadataRequest())
	})
	t.Run("all, with silent ones among them", func(t *testing.T) {
		s := testServer(t, newTestNode(t), Config{MaxConnections: 3})
		busy := dial(t, s)
		ask[*kmsg.MetadataResponse](busy, 9, kmsg.NewPtrMetadataRequest())
		silent, silent2 := dial(t, s), dial(t, s)
		eventually(t, "all are there", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.mu.conns) == 3
		})
		late := dial(t, s)
		ask[*kmsg.MetadataResponse](late, 9, kmsg.NewPtrMetadataRequest())
		silent.closed() // the oldest that never asked for anything had to go
		ask[*kmsg.MetadataResponse](silent2, 9, kmsg.NewPtrMetadataRequest())
		ask[*kmsg.MetadataResponse](busy, 9, kmsg.NewPtrMetadataRequest())
		dial(t, s).closed() // nobody is silent any more
	})
}

// TestManySilentConnections opens FANFOLD_CONNECTIONS connections (10,000 in
// .ci/run; some hundreds otherwise) that send nothing or garbage; others are
// served meanwhile.
func TestManySilentConnections(t *testing.T) {
	count := 300
	if v := os.Getenv("FANFOLD_CONNECTIONS"); v != "" {
		var err error
		count, err = strconv.Atoi(v)
		must(t, err)
	}
	limit := count * 3 / 4
	s := testServer(t, newTestNode(t), Config{MaxConnections: limit, MaxConnectionsPerIP: count})
	good := dial(t, s)
	ask[*kmsg.MetadataResponse](good, 9, kmsg.NewPtrMetadataRequest())
	address := s.Addr(DefaultListener).String()
	for i := range count {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer nc.Close()
		if i%3 == 0 {
			_, _ = nc.Write([]byte("garbage, garbage, garbage")) // it may be closed already
		}
	}
	for range 10 {
		ask[*kmsg.MetadataResponse](good, 9, kmsg.NewPtrMetadataRequest())
		ask[*kmsg.MetadataResponse](dial(t, s), 9, kmsg.NewPtrMetadataRequest())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.conns) > limit {
		t.Errorf("%d connections are open; at most %d may be", len(s.mu.conns), limit)
	}
}

func TestListenErrors(t *testing.T) {
	s := testServer(t, newTestNode(t), Config{})
	if _, err := Listen(t.Context(), Config{Listeners: []ListenerConfig{{Address: s.Addr(DefaultListener).String()}}}); err == nil {
		t.Error("an address in use is bound")
	}
	if _, err := Listen(t.Context(), Config{}); err == nil {
		t.Error("a server without a listener is made")
	}
	if _, err := Listen(t.Context(), Config{Listeners: []ListenerConfig{{Address: "127.0.0.1:0"}}, MaxConnections: -1}); err == nil {
		t.Error("a negative limit is taken")
	}
}

// A large first request is taken, too: some clients begin with a Produce.
func TestALargeFirstRequest(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 1, nil)
	c := dial(t, testServer(t, node, Config{}))
	value := strings.Repeat("x", 5*firstFrameBytes/2)
	for want := range int64(2) {
		req := produceRequest("t", 0, -1, testBatch(t, value))
		if p := producedPartition(t, c.receive(req, c.send(req))); p.ErrorCode != 0 || p.BaseOffset != want {
			t.Errorf("answered %+v", p)
		}
	}
}

// Who announces a large first request gets no memory for it.
func TestAnnouncingALargeRequestTakesLittle(t *testing.T) {
	node := newTestNode(t)
	s := testServer(t, node, Config{})
	for range 20 {
		head := frameOf(0, 9)
		binary.BigEndian.PutUint32(head, 30<<20)
		dial(t, s).write(head)
	}
	eventually(t, "all are read", func() bool { return s.budget.used.Load() >= 20*firstFrameBytes })
	if used := s.budget.used.Load(); used > 20*(firstFrameBytes+requestOverhead) {
		t.Errorf("%d bytes are reserved", used)
	}
}
