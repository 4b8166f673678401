package broker

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzConnection feeds a connection with bytes. It must not panic, must end
// when its client does, give back all it took, and take no more memory than a
// small factor of the bytes.
func FuzzConnection(f *testing.F) {
	seeds := newTestNode(f)
	seeds.topic("sample", 2, nil)
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID("fuzz"))
	for _, a := range apis {
		for _, version := range []int16{a.min, a.max} {
			req := sampleRequest(f, a.key, version, seeds)
			req.SetVersion(version)
			b := formatter.AppendRequest(nil, req, 1)
			f.Add(b)
			f.Add(append(b, b...))
		}
	}
	f.Add(frameOf(18, 99, 1, 2, 3))
	f.Add(frameOf(0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0))
	f.Add(frameOf(10, 0, 0, 0))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})

	node := newTestNode(f)
	node.topic("sample", 2, nil)
	node.static["max.topics"], node.static["max.partitions"] = "20", "50"
	s := pipeServer(f, node, Config{MaxPipelined: 64, DrainTimeout: time.Second, MaxRequestBytes: 1 << 20})
	f.Cleanup(func() { closeServer(f, s, node) })
	f.Fuzz(func(t *testing.T, input []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		client, server := net.Pipe()
		s.admit(server, DefaultListener)
		_ = client.SetDeadline(time.Now().Add(10 * time.Second))
		go func() {
			_, _ = client.Write(input) // it may be closed before its end
			_ = client.SetReadDeadline(time.Now())
		}()
		_, _ = io.Copy(io.Discard, client)
		_ = client.Close()
		eventually(t, "everything is given back", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.mu.conns) == 0 && node.watchers() == 0 && s.produces.Load() == 0 && s.budget.used.Load() == 0
		})
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20+uint64(200*len(input)) {
			t.Errorf("%d bytes of input took %d bytes of memory", len(input), used)
		}
	})
}
