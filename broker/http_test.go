package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// startingNode is ready when it says so.
type startingNode struct {
	*testNode
	ready atomic.Bool
}

func (n *startingNode) Ready() error {
	if n.ready.Load() {
		return nil
	}
	return errors.New("3 topics are not ready")
}

func TestHealthAndMetricsOverHTTP(t *testing.T) {
	node := &startingNode{testNode: newTestNode(t)}
	node.topic("t", 1, nil)
	node.replica("t", 0).produce(t, "a", "b")
	registry := prometheus.NewRegistry()
	s := testServer(t, node.testNode, Config{Registerer: registry})
	h, err := ListenHTTP(t.Context(), "127.0.0.1:0", registry, slog.New(slog.DiscardHandler))
	must(t, err)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := client.Get("http://" + h.Addr().String() + path)
		must(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		return resp.StatusCode, string(body)
	}
	want := func(path string, status int, text string) {
		t.Helper()
		if code, body := get(path); code != status || !strings.Contains(body, text) {
			t.Errorf("%s: %d %q; want %d and %q", path, code, body, status, text)
		}
	}
	want("/healthz", 200, "ok")
	want("/readyz", 503, "starting")
	h.Serve(node)
	want("/readyz", 503, "3 topics")
	node.ready.Store(true)
	want("/readyz", 200, "ready")
	want("/elsewhere", 404, "")

	c := dial(t, s)
	ask[*kmsg.MetadataResponse](c, 9, kmsg.NewPtrMetadataRequest())
	unknown := fetchRequest(12, node.testNode, "none", 0)
	c.receive(unknown, c.send(unknown))
	for _, line := range []string{
		`fanfold_partition_high_watermark{partition="0",topic="t"} 2`,
		`fanfold_partitions 1`,
		`fanfold_connections 1`,
		`fanfold_request_seconds_count{api="Metadata"} 1`,
		`fanfold_partition_errors_total{error="UNKNOWN_TOPIC_OR_PARTITION"} 1`,
		`fanfold_fetch_sessions 0`,
	} {
		want("/metrics", 200, line+"\n")
	}
	must(t, h.Close(context.Background()))
}

// seriesOf counts what a collector shows.
func seriesOf(t *testing.T, c prometheus.Collector) (count int) {
	t.Helper()
	registry := prometheus.NewRegistry()
	must(t, registry.Register(c))
	families, err := registry.Gather()
	must(t, err)
	for _, f := range families {
		count += len(f.GetMetric())
	}
	return count
}

func TestPartitionsAboveTheLimitAreSummed(t *testing.T) {
	node := newTestNode(t)
	node.topic("t", 3, nil)
	for most, series := range map[int]int{3: 3*4 + 2, 2: 2} {
		if n := seriesOf(t, NewPartitionCollector(node, most)); n != series {
			t.Errorf("3 partitions, at most %d: %d series; want %d", most, n, series)
		}
	}
}

func TestErrorsAreCountedByTheirNames(t *testing.T) {
	s := newServer(Config{}.withDefaults())
	defer s.cancel()
	s.metrics.failed(kerr.CorruptMessage.Code)
	s.metrics.failed(31000)
	s.metrics.failed(31001)
	if n := seriesOf(t, s.metrics.errors); n != 2 {
		t.Errorf("%d series; want one for the known code and one for all others", n)
	}
}
