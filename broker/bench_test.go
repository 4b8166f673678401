package broker

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/partition"
)

// benchServer is a server on loopback and a connection to it.
func benchServer(b *testing.B, node *testNode) (*Server, net.Conn) {
	b.Helper()
	s := testServer(b, node, Config{})
	nc, err := net.Dial("tcp", s.Addr(DefaultListener).String())
	must(b, err)
	b.Cleanup(func() { _ = nc.Close() })
	return s, nc
}

// sinkNode acknowledges all batches at once and keeps none: what is measured is
// the connection.
type sinkNode struct{ *testNode }

type sinkReplica struct{ *testReplica }

func (n sinkNode) Replica(topic [16]byte, number int32) (Replica, error) {
	r, err := n.testNode.Replica(topic, number)
	if err != nil {
		return nil, err
	}
	return sinkReplica{r.(*testReplica)}, nil
}

func (sinkReplica) Produce(_ []byte, _ int16, tag int, sink partition.ProduceSink) {
	sink.Produced(tag, partition.ProduceResult{BaseOffset: 1, LogAppendTime: -1})
	sink.Released(tag)
}

// BenchmarkProduce is a Produce of one batch through a connection, with so many
// requests in flight.
func BenchmarkProduce(b *testing.B) {
	for _, batchBytes := range []int{100, 16 << 10, 1 << 20} {
		for _, inFlight := range []int{1, 5} {
			b.Run(fmt.Sprintf("batchBytes=%d/inFlight=%d", batchBytes, inFlight), func(b *testing.B) {
				node := newTestNode(b)
				node.topic("t", 1, nil)
				s := testServer(b, node, Config{})
				s.node = sinkNode{node}
				nc, err := net.Dial("tcp", s.Addr(DefaultListener).String())
				must(b, err)
				defer nc.Close()
				req := produceRequest("t", 0, -1, testBatch(b, strings.Repeat("x", batchBytes)))
				frame := kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
				answers := bufio.NewReader(nc)
				b.SetBytes(int64(len(frame)))
				b.ReportAllocs()
				sent := 0
				for done := 0; done < b.N; done++ {
					for sent < b.N && sent-done < inFlight {
						if _, err := nc.Write(frame); err != nil {
							b.Fatal(err)
						}
						sent++
					}
					skipFrame(b, answers)
				}
			})
		}
	}
}

func skipFrame(b *testing.B, r *bufio.Reader) (frameBytes int) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		b.Fatal(err)
	}
	n := int(binary.BigEndian.Uint32(size[:]))
	if _, err := r.Discard(n); err != nil {
		b.Fatal(err)
	}
	return n + 4
}

// BenchmarkFetch is a Fetch of one partition's records through a connection,
// from a file in the page cache.
func BenchmarkFetch(b *testing.B) {
	for _, fetchBytes := range []int{1 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("fetchBytes=%d", fetchBytes), func(b *testing.B) {
			node := newFileNode(b)
			node.topic("t", 1, nil)
			for range 2 {
				node.replica("t", 0).produce(b, strings.Repeat("x", fetchBytes-100))
			}
			_, nc := benchServer(b, node)
			req := fetchRequest(12, node, "t", 0)
			req.MaxBytes = int32(fetchBytes)
			frame := kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
			answers := bufio.NewReaderSize(nc, 64<<10)
			b.SetBytes(int64(fetchBytes))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := nc.Write(frame); err != nil {
					b.Fatal(err)
				}
				if n := skipFrame(b, answers); n < fetchBytes-100 {
					b.Fatalf("%d bytes", n)
				}
			}
		})
	}
}

// BenchmarkFetchSession is an incremental fetch of so many partitions of which
// one has news.
func BenchmarkFetchSession(b *testing.B) {
	for _, partitions := range []int32{1, 100, 1000} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			node := newTestNode(b)
			node.topic("t", partitions, nil)
			s, nc := benchServer(b, node)
			numbers := make([]int32, partitions)
			for i := range numbers {
				numbers[i] = int32(i)
			}
			c := &testClient{t: b, nc: nc}
			open := fetchRequest(12, node, "t", numbers...)
			open.MaxWaitMillis, open.SessionEpoch = 0, 0
			id := c.receive(open, c.send(open)).(*kmsg.FetchResponse).SessionID
			next := kmsg.NewPtrFetchRequest()
			next.SetVersion(12)
			next.SessionID = id
			session := s.sessions.get(id)
			answers := bufio.NewReader(nc)
			var frame []byte
			b.ReportAllocs()
			for b.Loop() {
				session.mu.Lock()
				next.SessionEpoch = session.mu.epoch
				session.mu.Unlock()
				frame = kmsg.NewRequestFormatter().AppendRequest(frame[:0], next, 1)
				if _, err := nc.Write(frame); err != nil {
					b.Fatal(err)
				}
				skipFrame(b, answers)
			}
		})
	}
}
