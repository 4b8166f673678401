//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// The versions served are the last before flexible ones: their bytes are the
// simplest to read and write by hand, which costs the clients nothing.
var served = []struct{ key, min, max int16 }{
	{0, 8, 8}, {1, 4, 11}, {2, 1, 5}, {3, 0, 8}, {18, 0, 3}, {19, 0, 4}, {20, 0, 3}, {22, 0, 1},
}

type server struct {
	host      string
	port      int32
	dir       string
	sync      bool
	producers atomic.Int64

	mu     sync.Mutex
	topics map[string][]*partition
	files  int
	more   chan struct{} // closed and replaced when any partition has more
}

func newServer(addr *net.TCPAddr, dir string, sync bool) *server {
	return &server{
		host: addr.IP.String(), port: int32(addr.Port), dir: dir, sync: sync,
		topics: map[string][]*partition{}, more: make(chan struct{}),
	}
}

func (s *server) news() {
	s.mu.Lock()
	close(s.more)
	s.more = make(chan struct{})
	s.mu.Unlock()
}

// answer is sent when it is ready: some bytes, each with a part of a file
// behind it.
type answer struct {
	ready  sync.WaitGroup
	pieces []piece
}

type piece struct {
	bytes  []byte
	file   *partition
	at     int64
	length int64
}

// connection is one client's.
type connection struct {
	*server
	conn  *net.TCPConn
	in    *bufio.Reader
	queue chan *answer // in the order of the requests
	frame []byte
}

func (s *server) serve(conn *net.TCPConn) {
	defer conn.Close()
	c := &connection{server: s, conn: conn, in: bufio.NewReaderSize(conn, 64<<10), queue: make(chan *answer, 64)}
	var sending sync.WaitGroup
	sending.Go(c.send)
	for {
		a, err := c.next()
		if err != nil {
			break
		}
		if a != nil {
			c.queue <- a
		}
	}
	close(c.queue)
	sending.Wait()
}

// send sends answers; after a failure it only drains.
func (c *connection) send() {
	var err error
	for a := range c.queue {
		a.ready.Wait()
		for _, p := range a.pieces {
			if err == nil {
				_, err = c.conn.Write(p.bytes)
			}
			if err == nil && p.length > 0 {
				err = c.sendfile(p)
			}
		}
		if err != nil {
			c.conn.Close()
		}
	}
}

func (c *connection) sendfile(p piece) error {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return err
	}
	from := int(p.file.file.Fd())
	var failure error
	err = raw.Write(func(to uintptr) bool {
		for p.length > 0 {
			n, err := unix.Sendfile(int(to), from, &p.at, int(min(p.length, 1<<30)))
			if n > 0 {
				p.length -= int64(n)
			}
			switch {
			case err == unix.EAGAIN:
				return false
			case err == unix.EINTR:
			case err != nil || n == 0:
				failure = fmt.Errorf("sendfile: %w", err)
				return true
			}
		}
		return true
	})
	if failure != nil {
		return failure
	}
	return err
}

// next reads a request and does what it asks for.
func (c *connection) next() (*answer, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n > 128<<20 {
		return nil, fmt.Errorf("a request of %d bytes", n)
	}
	if n > cap(c.frame) {
		c.frame = make([]byte, n)
	}
	c.frame = c.frame[:n]
	if _, err := io.ReadFull(c.in, c.frame); err != nil {
		return nil, err
	}
	r := &fields{b: c.frame}
	key, version, correlation := int16(r.int(2)), int16(r.int(2)), uint32(r.int(4))
	r.string()
	if r.short {
		return nil, io.ErrUnexpectedEOF
	}
	switch key {
	case 0:
		return c.produce(r, correlation)
	case 1:
		return c.fetch(r.b, version, correlation)
	}
	return c.other(key, version, correlation, r.b)
}

// fields reads big-endian fields one after the other.
type fields struct {
	b     []byte
	short bool
}

func (f *fields) take(n int) []byte {
	if n < 0 || n > len(f.b) {
		f.short = true
		return nil
	}
	b := f.b[:n]
	f.b = f.b[n:]
	return b
}

func (f *fields) int(n int) int {
	v := 0
	for _, b := range f.take(n) {
		v = v<<8 | int(b)
	}
	return v
}

func (f *fields) string() []byte { return f.take(max(0, int(int16(f.int(2))))) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// produce handles version 8.
func (c *connection) produce(r *fields, correlation uint32) (*answer, error) {
	a := &answer{}
	out := binary.BigEndian.AppendUint32(make([]byte, 4, 256), correlation)
	r.string()
	acks, topics := int16(r.int(2)), 0
	r.int(4)
	topics = r.int(4)
	out = binary.BigEndian.AppendUint32(out, uint32(topics))
	for ; topics > 0 && !r.short; topics-- {
		name := r.string()
		out = binary.BigEndian.AppendUint16(out, uint16(len(name)))
		out = append(out, name...)
		parts := r.int(4)
		out = binary.BigEndian.AppendUint32(out, uint32(parts))
		for ; parts > 0 && !r.short; parts-- {
			index, records := r.int(4), r.take(r.int(4))
			base, code := int64(-1), kerr.CorruptMessage.Code
			if p := c.partition(string(name), index); p == nil {
				code = kerr.UnknownTopicOrPartition.Code
			} else if intact(records) {
				code = 0
				var err error
				a.ready.Add(1)
				if base, err = p.append(records, a.ready.Done); err != nil {
					a.ready.Done()
					code = kerr.KafkaStorageError.Code
				}
			}
			out = binary.BigEndian.AppendUint32(out, uint32(index))
			out = binary.BigEndian.AppendUint16(out, uint16(code))
			out = binary.BigEndian.AppendUint64(out, uint64(base))
			out = append(out, "\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"...)
		}
	}
	if r.short {
		return nil, io.ErrUnexpectedEOF
	}
	out = append(out, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	if acks != 0 {
		a.pieces = []piece{{bytes: out}}
	}
	return a, nil
}

// intact tells whether these are whole batches with right checksums.
func intact(b []byte) bool {
	for len(b) >= 61 {
		n := 12 + int(binary.BigEndian.Uint32(b[8:]))
		if n < 61 || n > len(b) || crc32.Checksum(b[21:n], castagnoli) != binary.BigEndian.Uint32(b[17:]) {
			return false
		}
		b = b[n:]
	}
	return len(b) == 0
}

func (s *server) partition(topic string, index int) *partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ps := s.topics[topic]; index >= 0 && index < len(ps) {
		return ps[index]
	}
	return nil
}

// fetch handles versions 4 to 11.
func (c *connection) fetch(body []byte, version int16, correlation uint32) (*answer, error) {
	req := kmsg.NewPtrFetchRequest()
	req.Version = version
	if err := req.ReadFrom(body); err != nil {
		return nil, err
	}
	deadline := time.NewTimer(time.Duration(req.MaxWaitMillis) * time.Millisecond)
	defer deadline.Stop()
	for {
		c.mu.Lock()
		more := c.more
		c.mu.Unlock()
		a, found := c.gather(req, version, correlation)
		if found {
			return a, nil
		}
		select {
		case <-more:
		case <-deadline.C:
			return a, nil
		}
	}
}

func (c *connection) gather(req *kmsg.FetchRequest, version int16, correlation uint32) (*answer, bool) {
	a := &answer{}
	out := binary.BigEndian.AppendUint32(make([]byte, 4, 512), correlation)
	out = append(out, 0, 0, 0, 0) // throttled
	if version >= 7 {
		out = append(out, 0, 0, 0, 0, 0, 0) // error, session
	}
	out = binary.BigEndian.AppendUint32(out, uint32(len(req.Topics)))
	left, files, found := int64(req.MaxBytes), int64(0), false
	for _, t := range req.Topics {
		out = binary.BigEndian.AppendUint16(out, uint16(len(t.Topic)))
		out = append(out, t.Topic...)
		out = binary.BigEndian.AppendUint32(out, uint32(len(t.Partitions)))
		for _, want := range t.Partitions {
			var at, length, end int64
			code := kerr.UnknownTopicOrPartition.Code
			p := c.partition(t.Topic, int(want.Partition))
			if p != nil {
				code = 0
				at, length, end = p.read(want.FetchOffset, min(int64(want.PartitionMaxBytes), max(left, 0)))
				if left <= 0 {
					length = 0
				}
			}
			left -= length
			files += length
			found = found || length > 0 || code != 0
			out = binary.BigEndian.AppendUint32(out, uint32(want.Partition))
			out = binary.BigEndian.AppendUint16(out, uint16(code))
			out = binary.BigEndian.AppendUint64(out, uint64(end))
			out = binary.BigEndian.AppendUint64(out, uint64(end))
			if version >= 5 {
				out = append(out, 0, 0, 0, 0, 0, 0, 0, 0) // log start
			}
			out = append(out, 0xff, 0xff, 0xff, 0xff) // aborted transactions
			if version >= 11 {
				out = append(out, 0xff, 0xff, 0xff, 0xff) // preferred replica
			}
			out = binary.BigEndian.AppendUint32(out, uint32(length))
			if length > 0 {
				a.pieces = append(a.pieces, piece{bytes: out, file: p, at: at, length: length})
				out = nil
			}
		}
	}
	a.pieces = append(a.pieces, piece{bytes: out})
	total := files - 4
	for _, p := range a.pieces {
		total += int64(len(p.bytes))
	}
	binary.BigEndian.PutUint32(a.pieces[0].bytes, uint32(total))
	return a, found
}

// other handles what is not the data's path.
func (c *connection) other(key, version int16, correlation uint32, body []byte) (*answer, error) {
	if key == 18 && version > 3 {
		version = -1 // answered as version 0, with an error
	}
	req := kmsg.RequestForKey(key)
	if req == nil {
		return nil, fmt.Errorf("api key %d", key)
	}
	req.SetVersion(max(version, 0))
	if key != 18 {
		if err := req.ReadFrom(body); err != nil {
			return nil, err
		}
	}
	resp := req.ResponseKind()
	resp.SetVersion(max(version, 0))
	switch resp := resp.(type) {
	case *kmsg.ApiVersionsResponse:
		if version < 0 {
			resp.ErrorCode = kerr.UnsupportedVersion.Code
		}
		for _, s := range served {
			k := kmsg.NewApiVersionsResponseApiKey()
			k.ApiKey, k.MinVersion, k.MaxVersion = s.key, s.min, s.max
			resp.ApiKeys = append(resp.ApiKeys, k)
		}
	case *kmsg.MetadataResponse:
		c.metadata(req.(*kmsg.MetadataRequest), resp)
	case *kmsg.ListOffsetsResponse:
		c.listOffsets(req.(*kmsg.ListOffsetsRequest), resp)
	case *kmsg.CreateTopicsResponse:
		c.createTopics(req.(*kmsg.CreateTopicsRequest), resp)
	case *kmsg.DeleteTopicsResponse:
		c.deleteTopics(req.(*kmsg.DeleteTopicsRequest), resp)
	case *kmsg.InitProducerIDResponse:
		resp.ProducerID = c.producers.Add(1)
	default:
		return nil, fmt.Errorf("api key %d", key)
	}
	out := binary.BigEndian.AppendUint32(make([]byte, 4), correlation)
	out = resp.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return &answer{pieces: []piece{{bytes: out}}}, nil
}
