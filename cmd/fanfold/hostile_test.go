package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/internal/invariants"
)

// The tests named TestHostile… send a broker process what no client sends, and
// see that it answers or closes as it says it does, that a well-behaved client
// is served meanwhile, that its memory stays bounded, and that its log names
// peer and cause at a limited rate. FANFOLD_HOSTILE=full takes all positions,
// sizes and numbers instead of some.

// answeredWithin is how long a hostile client waits for its answer, or for the
// connection's end.
const answeredWithin = 8 * time.Second

// servedWithin is how long a well-behaved client may have to wait for a write
// and its read while others misbehave.
const servedWithin = 5 * time.Second

func hostileFull() bool { return os.Getenv("FANFOLD_HOSTILE") == "full" }

// quickOr is the first number, or the second in the full variant.
func quickOr(quick, full int) int {
	if hostileFull() {
		return full
	}
	return quick
}

// victim is a broker process under attack, beside which a client writes and
// reads all the time.
type victim struct {
	*server
	began     time.Time
	neighbour *neighbour
	checked   bool
}

// newVictim starts a broker and its neighbour. When the test ends, the broker
// has to be alive and its log in order.
func newVictim(t *testing.T, args ...string) *victim {
	t.Helper()
	v := &victim{server: newServer(t, args...), began: time.Now()}
	v.start()
	v.neighbour = newNeighbour(t, v.server)
	v.guard()
	t.Cleanup(v.checkAfterwards)
	return v
}

// guard kills a broker that is about to take all of the machine's memory.
func (v *victim) guard() {
	const most = 2 << 30
	v.memory("VmRSS") // skips where it is unknown
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	path := fmt.Sprintf("/proc/%d/status", v.PID())
	running.Go(func() {
		for pause(ctx, 10*time.Millisecond) {
			text, err := os.ReadFile(path)
			if err != nil {
				return
			}
			_, rest, _ := strings.Cut(string(text), "VmRSS:")
			if fields := strings.Fields(rest); len(fields) > 0 {
				if kib, err := strconv.ParseInt(fields[0], 10, 64); err == nil && kib<<10 > most {
					v.t.Errorf("the broker takes %d MiB: it is killed", kib>>10)
					v.Kill()
					return
				}
			}
		}
	})
	v.t.Cleanup(func() { cancel(); running.Wait() })
}

// on lets a subtest's failures be its own.
func (v *victim) on(t *testing.T) *victim {
	s := *v.server
	s.t = t
	return &victim{server: &s, began: v.began, neighbour: v.neighbour}
}

func (v *victim) checkAfterwards() {
	t := v.t
	if v.checked {
		return
	}
	v.checked = true
	if !v.Running() {
		t.Fatalf("the broker has ended: %s", v.Stderr())
	}
	rounds, longest := v.neighbour.stop()
	t.Logf("beside it, a client wrote and read %d times, the slowest took %d ms; at most %d MiB resident",
		rounds, longest.Milliseconds(), v.memory("VmHWM")>>20)
	for _, line := range v.complaints() {
		t.Errorf("the broker says: %s", line)
	}
	v.checkLogRate()
}

var badInputLine = regexp.MustCompile(`^time=(\S+) level=WARN msg="bad input" peer=\S+ cause=.+ omitted=\d+$`)

// checkLogRate looks at the lines about bad input: each names peer and cause,
// and no two are closer together than a second.
func (v *victim) checkLogRate() {
	var last time.Time
	lines := 0
	for line := range strings.Lines(v.Stderr()) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		m := badInputLine.FindStringSubmatch(line)
		if m == nil {
			if strings.Contains(line, "bad input") {
				v.t.Errorf("no peer or cause: %s", line)
			}
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, m[1])
		if err != nil {
			v.t.Errorf("%v: %s", err, line)
		}
		// Lines are stamped to the millisecond, a moment after the limit let them pass.
		if !last.IsZero() && at.Sub(last) < time.Second-100*time.Millisecond {
			v.t.Errorf("%v after the line before: %s", at.Sub(last), line)
		}
		last = at
		lines++
	}
	if most := int(time.Since(v.began)/time.Second) + 1; lines > most {
		v.t.Errorf("%d lines about bad input in %d s", lines, most-1)
	}
	if all := strings.Count(v.Stderr(), "\n"); all > lines+20 {
		v.t.Errorf("%d lines of log, %d of them about bad input", all, lines)
	}
}

// logs repeats an attack until the log has a line that holds all texts: one
// line a second is logged, for whichever client comes first.
func (v *victim) logs(attack func(), texts ...string) {
	v.t.Helper()
	found := func() bool {
		for line := range strings.Lines(v.Stderr()) {
			missing := !badInputLine.MatchString(strings.TrimSpace(line))
			for _, text := range texts {
				missing = missing || !strings.Contains(line, text)
			}
			if !missing {
				return true
			}
		}
		return false
	}
	for deadline := time.Now().Add(answeredWithin); !found(); {
		if time.Now().After(deadline) {
			v.t.Errorf("no line of the log holds %q:\n%s", texts, tailOf(v.Stderr()))
			return
		}
		attack()
		pause(v.t.Context(), 100*time.Millisecond)
	}
}

func tailOf(text string) string { return text[max(0, len(text)-3000):] }

// served sees that a well-behaved client is served now: a write and its read
// are begun and done.
func (v *victim) served() {
	v.t.Helper()
	if took, err := v.neighbour.round(); err != nil {
		v.t.Errorf("a well-behaved client was not served: %v", err)
	} else if took > servedWithin {
		v.t.Errorf("a well-behaved client was served after %v", took)
	}
}

// growth is by how much the resident memory at its peak exceeds what it was
// before, while f runs.
func (v *victim) growth(f func()) int64 {
	v.t.Helper()
	before := v.memory("VmRSS")
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", v.PID()), []byte("5"), 0); err != nil {
		v.t.Logf("the peak of memory cannot be reset, so that it is the process's: %v", err)
	}
	f()
	peak, ok := v.peakMemory()
	if !ok {
		v.t.Fatal("the broker is gone")
	}
	return max(0, peak-before)
}

// peakMemory is the most resident memory since it was reset, false where the
// process has ended.
func (v *victim) peakMemory() (bytes int64, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.PID()))
	if err != nil {
		return 0, false
	}
	_, rest, found := strings.Cut(string(text), "VmHWM:")
	if !found {
		return 0, false
	}
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return kib << 10, err == nil
}

// bounded sees that memory grows by no more than most bytes while f runs.
func (v *victim) bounded(what string, most int64, f func()) {
	v.t.Helper()
	grown := v.growth(f)
	v.t.Logf("%s: memory grows by %d MiB, %d are allowed", what, grown>>20, most>>20)
	if grown > most && !invariants.Enabled {
		v.t.Errorf("%s: memory grew by %d MiB, more than %d", what, grown>>20, most>>20)
	}
}

// neighbour is a well-behaved client that writes a record and reads it, again
// and again.
type neighbour struct {
	client *kgo.Client
	cancel context.CancelFunc
	ctx    context.Context
	done   sync.WaitGroup

	mu      sync.Mutex // held for one round
	rounds  int
	longest time.Duration
	failed  error
}

func newNeighbour(t *testing.T, s *server) *neighbour {
	t.Helper()
	s.createTopic("neighbour", 1)
	n := &neighbour{client: s.client(
		kgo.DefaultProduceTopic("neighbour"), kgo.AllowIdempotentProduceCancellation(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"neighbour": {0: kgo.NewOffset().AtStart()}}),
	)}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if _, err := n.round(); err != nil {
		t.Fatal(err)
	}
	n.done.Go(func() {
		for pause(n.ctx, 20*time.Millisecond) {
			if _, err := n.round(); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { n.stop() })
	return n
}

// round writes a record and waits until it is read.
func (n *neighbour) round() (time.Duration, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failed != nil {
		return 0, n.failed
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(n.ctx, answeredWithin)
	defer cancel()
	value := strconv.Itoa(n.rounds)
	if err := n.client.ProduceSync(ctx, kgo.StringRecord(value)).FirstErr(); err != nil {
		return 0, n.fail(fmt.Errorf("write: %w", err))
	}
	for read := false; !read; {
		fetches := n.client.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			return 0, n.fail(fmt.Errorf("read: %w", e.Err))
		}
		fetches.EachRecord(func(r *kgo.Record) { read = read || string(r.Value) == value })
	}
	took := time.Since(began)
	n.longest = max(n.longest, took)
	n.rounds++
	return took, nil
}

// fail keeps the first failure that is not the end of the test.
func (n *neighbour) fail(err error) error {
	if n.ctx.Err() == nil {
		n.failed = err
	}
	return err
}

func (n *neighbour) stop() (rounds int, longest time.Duration) {
	n.cancel()
	n.done.Wait()
	return n.rounds, n.longest
}

// rawConn is a connection whose client writes what it likes.
type rawConn struct {
	net.Conn
	t *testing.T
}

func (v *victim) dial() *rawConn {
	v.t.Helper()
	nc, err := net.DialTimeout("tcp", v.address, answeredWithin)
	if err != nil {
		v.t.Fatal(err)
	}
	c := &rawConn{nc, v.t}
	v.t.Cleanup(func() { c.Close() })
	return c
}

// frame is a request as it is sent: size, header and body.
func frame(key, version int16, body []byte) []byte {
	head := binary.BigEndian.AppendUint16(nil, uint16(key))
	head = binary.BigEndian.AppendUint16(head, uint16(version))
	head = binary.BigEndian.AppendUint32(head, 77)
	if key != 7 || version != 0 {
		head = binary.BigEndian.AppendUint16(head, 7)
		head = append(head, "hostile"...)
	}
	if req := kmsg.RequestForKey(key); req != nil {
		if req.SetVersion(version); req.IsFlexible() {
			head = append(head, 0)
		}
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(head)+len(body))), append(head, body...)...)
}

func requestFrame(req kmsg.Request) []byte {
	return frame(req.Key(), req.GetVersion(), req.AppendTo(nil))
}

// send writes; that the other side has closed meanwhile is seen by who reads.
func (c *rawConn) send(b []byte) {
	_ = c.SetWriteDeadline(time.Now().Add(answeredWithin))
	_, _ = c.Write(b)
}

// receive reads one answer, without its size.
func (c *rawConn) receive() ([]byte, error) {
	_ = c.SetReadDeadline(time.Now().Add(answeredWithin))
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(c, answer)
	return answer, err
}

// answer sends a request and decodes what comes back.
func (c *rawConn) answer(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	c.send(requestFrame(req))
	resp, err := c.decode(req)
	if err != nil {
		c.t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	return resp
}

// decode receives the answer to req.
func (c *rawConn) decode(req kmsg.Request) (kmsg.Response, error) {
	b, err := c.receive()
	if err != nil {
		return nil, err
	}
	if len(b) < 4 || binary.BigEndian.Uint32(b) != 77 {
		return nil, fmt.Errorf("an answer to something else: %x", b[:min(len(b), 32)])
	}
	b = b[4:]
	resp := req.ResponseKind()
	if req.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		if b[0] != 0 {
			return nil, fmt.Errorf("tagged fields in the header: %x", b[:min(len(b), 32)])
		}
		b = b[1:]
	}
	return resp, resp.ReadFrom(b)
}

// closed sees that the connection ends without another answer.
func (c *rawConn) closed() {
	c.t.Helper()
	if answer, err := c.receive(); err == nil {
		c.t.Errorf("an answer of %d bytes instead of the end: %x", len(answer), answer[:min(len(answer), 64)])
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Errorf("the connection is open after %v", answeredWithin)
	}
	c.Close()
}

// proves sees that the connection still serves.
func (c *rawConn) proves() {
	c.t.Helper()
	req := kmsg.NewPtrApiVersionsRequest()
	if resp := c.answer(req).(*kmsg.ApiVersionsResponse); resp.ErrorCode != 0 || len(resp.ApiKeys) < 10 {
		c.t.Errorf("ApiVersions answers %+v", resp)
	}
}

// apiKeys are the keys that the broker lists.
func (v *victim) apiKeys() []kmsg.ApiVersionsResponseApiKey {
	v.t.Helper()
	c := v.dial()
	defer c.Close()
	return c.answer(kmsg.NewPtrApiVersionsRequest()).(*kmsg.ApiVersionsResponse).ApiKeys
}

func TestHostileFrames(t *testing.T) {
	v := newVictim(t)
	random := bytes.Repeat([]byte{0x5f, 0x91, 0x0c, 0xe3, 0x77, 0xaa, 0x02, 0xd8}, 4<<10)
	size := func(n int32, rest string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(n)), rest...)
	}
	for _, c := range []struct {
		name  string
		input []byte
		cause string // in the log
	}{
		{"random bytes", random, "a request of 1603341539 bytes; at most 104857600 are taken"},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP spoken to the Kafka listener"},
		{"HTTP/2", []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "HTTP spoken to the Kafka listener"},
		{"TLS", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "TLS spoken to a plaintext listener"},
		{"SSH", []byte("SSH-2.0-OpenSSH_9.6\r\n"), "a request of 1397966893 bytes"},
		{"zero length", size(0, ""), "a request cannot have 0 bytes"},
		{"length below a header", size(7, "\x00\x12\x00\x00\x00\x00\x00"), "a request cannot have 7 bytes"},
		{"negative length", size(-1, ""), "a request cannot have -1 bytes"},
		{"most negative length", size(-1<<31, ""), "a request cannot have -2147483648 bytes"},
		{"largest length", size(1<<31-1, "\x00\x00\x00\x09"), "a request of 2147483647 bytes"},
		{"just above the limit", size(100<<20+1, "\x00\x00\x00\x09"), "a request of 104857601 bytes"},
		{"above the limit of a request without records", size(16<<20+1, "\x00\x03\x00\x09\x00\x00\x00\x01"), "a request of key 3 version 9 has 16777217 bytes; at most 16777216 are taken"},
		{"unknown key, large", size(64<<10+1, "\x03\xe8\x00\x00\x00\x00\x00\x01"), "a request of key 1000 version 0 has 65537 bytes; at most 65536 are taken"},
		{"unknown key", frame(1000, 0, nil), "key 1000 version 0"},
		{"negative key", frame(-1, 0, nil), "key -1 version 0"},
		{"negative version", frame(3, -1, nil), "key 3 version -1"},
		{"client id longer than the request", append(size(12, "\x00\x12\x00\x00\x00\x00\x00\x4d"), "\x7f\xffab"...), "client_id"},
		{"Metadata of an unknown version", frame(3, 99, []byte{1, 0, 0, 0}), "key 3 version 99"},
		{"Fetch above", frame(1, 19, nil), "key 1 version 19"},
		{"Fetch 0", frame(1, 0, nil), "key 1 version 0"},
		{"Fetch 3", frame(1, 3, nil), "key 1 version 3"},
		{"Produce above", frame(0, 14, nil), "key 0 version 14"},
		{"ListOffsets 0", frame(2, 0, nil), "key 2 version 0"},
		{"AddPartitionsToTxn, which is not served", frame(24, 0, nil), "key 24 version 0"},
		{"OffsetCommit without a body", frame(8, 9, nil), "OffsetCommit v9: field group_id at byte 0"},
		{"OffsetCommit 1", frame(8, 1, nil), "key 8 version 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := v.on(t)
			attack := func() {
				conn := v.dial()
				conn.send(c.input)
				conn.closed()
			}
			attack()
			if hostileFull() {
				v.logs(attack, c.cause, "peer=127.0.0.1:")
			}
		})
	}
	v.served()
	attack := func() { c := v.dial(); c.send(random); c.closed() }
	v.logs(attack, `a request of 1603341539 bytes; at most 104857600 are taken (socket.request.max.bytes)`, "peer=127.0.0.1:")
}

func TestHostileVersions(t *testing.T) {
	v := newVictim(t)
	t.Run("ApiVersions", func(t *testing.T) {
		c := v.on(t).dial()
		for _, version := range []int16{127, 6, 32767} {
			c.send(frame(18, version, []byte("\xff\xff what a later version may hold")))
			b, err := c.receive()
			// Correlation id, error 35, one key: 18 from 0 to 5, in version 0.
			if want := "\x00\x00\x00\x4d\x00\x23\x00\x00\x00\x01\x00\x12\x00\x00\x00\x05"; err != nil || string(b) != want {
				t.Errorf("version %d is answered by %x, %v; want %x", version, b, err, want)
			}
			c.proves()
		}
		c.send(append(binary.BigEndian.AppendUint32(nil, 8), "\x00\x12\x00\x7f\x00\x00\x00\x4d"...)) // no client id at all
		if b, err := c.receive(); err != nil || len(b) != 16 {
			t.Errorf("without a client id: %x, %v", b, err)
		}
		c.proves()
	})
	for version := range int16(3) {
		t.Run(fmt.Sprintf("Produce %d", version), func(t *testing.T) {
			req := kmsg.NewPtrProduceRequest()
			req.Version, req.Acks, req.TimeoutMillis = version, -1, 1000
			topic := kmsg.NewProduceRequestTopic()
			topic.Topic = "neighbour"
			topic.Partitions = append(topic.Partitions, kmsg.ProduceRequestTopicPartition{Partition: 0, Records: []byte("an old message set")})
			req.Topics = append(req.Topics, topic)
			c := v.on(t).dial()
			resp := c.answer(req).(*kmsg.ProduceResponse)
			if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 || resp.Topics[0].Partitions[0].ErrorCode != 35 {
				t.Errorf("answered by %+v", resp)
			}
			c.proves()
			req.Acks = 0
			c.send(requestFrame(req))
			c.closed()
		})
	}
	// Where the whole answer has an error code, it says UNSUPPORTED_VERSION.
	for _, c := range []struct{ key, version int16 }{
		{4, 0}, {4, 7}, {5, 0}, {5, 4}, {6, 0}, {6, 8}, {7, 0}, {7, 3}, {17, 0}, {25, 0}, {25, 4}, {26, 0}, {26, 5}, {36, 2}, {38, 0}, {39, 1}, {40, 2},
	} {
		t.Run(fmt.Sprintf("%s %d", kmsg.NameForKey(c.key), c.version), func(t *testing.T) {
			conn := v.on(t).dial()
			conn.send(frame(c.key, c.version, nil))
			b, err := conn.receive()
			if err != nil || !bytes.Contains(b[4:], []byte{0, 35}) {
				t.Errorf("answered by %x, %v", b, err)
			}
			conn.proves()
		})
	}
	v.served()
}
