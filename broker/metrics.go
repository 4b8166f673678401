package broker

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
)

// metrics counts what the broker does. Names of APIs and errors are those of
// Kafka, so that labels stay few.
type metrics struct {
	seconds     []prometheus.Observer // by key
	errors      *prometheus.CounterVec
	bytesIn     prometheus.Counter
	bytesOut    prometheus.Counter
	connections prometheus.Gauge
	refused     prometheus.Counter
	hostile     prometheus.Counter
	waiting     prometheus.Gauge
	unserved    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, s *Server) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fanfold_partition_errors_total", Help: "Errors that partitions of produces and fetches were answered with.",
		}, []string{"error"}),
		bytesIn:     counter("fanfold_received_bytes_total", "Bytes that clients sent."),
		bytesOut:    counter("fanfold_sent_bytes_total", "Bytes that were sent to clients."),
		connections: gauge("fanfold_connections", "Connections that are open."),
		refused:     counter("fanfold_connections_refused_total", "Connections that were closed at once, at a limit."),
		hostile:     counter("fanfold_bad_input_total", "Connections that were closed because of what the client sent."),
		waiting:     gauge("fanfold_fetches_waiting", "Fetches that wait for records."),
		unserved:    counter("fanfold_requests_unserved_total", "Requests of keys and versions that are not served."),
	}
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "fanfold_request_seconds", Help: "Time from when a request was read until its answer was handed to the socket; of fetches, waiting included.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 17),
	}, []string{"api"})
	m.seconds = make([]prometheus.Observer, len(apiByKey))
	for _, a := range apis {
		m.seconds[a.key] = seconds.WithLabelValues(a.name)
	}
	if reg != nil {
		reg.MustRegister(seconds, m.errors, m.bytesIn, m.bytesOut, m.connections, m.refused, m.hostile, m.waiting, m.unserved)
		reg.MustRegister(stateGauges(s)...)
	}
	return m
}

// stateGauges are read when they are asked for.
func stateGauges(s *Server) []prometheus.Collector {
	gauge := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read)
	}
	return []prometheus.Collector{
		gauge("fanfold_request_bytes_in_flight", "Bytes of requests in flight, as queued.max.request.bytes counts them.",
			func() float64 { return float64(s.budget.used.Load()) }),
		gauge("fanfold_fetch_sessions", "Fetch sessions that are kept.",
			func() float64 { n, _, _ := s.sessions.counts(); return float64(n) }),
		gauge("fanfold_fetch_session_partitions", "Partitions of all fetch sessions.",
			func() float64 { _, n, _ := s.sessions.counts(); return float64(n) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "fanfold_fetch_sessions_evicted_total", Help: "Fetch sessions that made room for others.",
		}, func() float64 { _, _, n := s.sessions.counts(); return float64(n) }),
	}
}

// observe counts a request that is answered.
func (m *metrics) observe(a *api, d time.Duration) {
	if a == nil {
		m.unserved.Inc()
		return
	}
	m.seconds[a.key].Observe(d.Seconds())
}

// failed counts an error that a partition was answered with.
func (m *metrics) failed(code int16) {
	name := strconv.Itoa(int(code))
	if e := (*kerr.Error)(nil); errors.As(kerr.ErrorForCode(code), &e) {
		name = e.Message
	}
	m.errors.WithLabelValues(name).Inc()
}
