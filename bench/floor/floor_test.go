//go:build linux

package main

import (
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fanfold/fanfold/bench"
)

// serveFloor runs a floor with a topic t of four partitions.
func serveFloor(t *testing.T) []string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := newServer(l.Addr().(*net.TCPAddr), t.TempDir(), true)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn.(*net.TCPConn))
		}
	}()
	brokers := []string{l.Addr().String()}
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 4, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	return brokers
}

func TestWhatWasAcknowledgedIsRead(t *testing.T) {
	brokers := serveFloor(t)
	r, err := bench.Produce(t.Context(), bench.Load{
		Brokers: brokers, Topic: "t", RecordBytes: 1000, Clients: 2, Linger: -1, Duration: 200 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := bench.Verify(t.Context(), brokers, "t", *r.Acked); err != nil {
		t.Fatal(err)
	}
	e, err := bench.Exchange(t.Context(), bench.Load{Brokers: brokers, Topic: "t", RecordBytes: 100, Clients: 4, Duration: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	all := *r.Acked
	all.Join(*e.Acked)
	if err := bench.Verify(t.Context(), brokers, "t", all); err != nil {
		t.Error(err)
	}
}

func TestReadersFollow(t *testing.T) {
	_, err := bench.Latency(t.Context(), bench.Load{
		Brokers: serveFloor(t), Topic: "t", RecordBytes: 100, Rate: 1000, Duration: 200 * time.Millisecond,
	}, 2)
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamageIsRefused(t *testing.T) {
	if intact(make([]byte, 60)) || intact(make([]byte, 100)) || !intact(nil) {
		t.Error("what are no batches was taken for some, or the reverse")
	}
}
