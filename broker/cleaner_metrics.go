package broker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fanfold/fanfold/log"
)

// cleanerStats are the metrics of compaction.
type cleanerStats struct {
	seconds   prometheus.Histogram
	bytes     prometheus.Counter
	records   prometheus.Counter
	removed   prometheus.Counter
	undecoded prometheus.Counter
	dirtiest  prometheus.Gauge
	failed    prometheus.Gauge
	fill      prometheus.Gauge
}

func newCleanerStats(reg prometheus.Registerer) cleanerStats {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	s := cleanerStats{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fanfold_compaction_seconds", Help: "Time that a pass over one log took, waiting for its rate included.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 12),
		}),
		bytes:     counter("fanfold_compaction_bytes_total", "Bytes that compaction has read and written, as log.cleaner.io.max.bytes.per.second counts them."),
		records:   counter("fanfold_compaction_records_total", "Records that compaction has looked at."),
		removed:   counter("fanfold_compaction_removed_records_total", "Records that compaction has removed."),
		undecoded: counter("fanfold_compaction_undecoded_batches_total", "Batches that compaction left as they are because their records could not be decoded."),
		dirtiest:  gauge("fanfold_compaction_dirtiest_ratio", "Largest share of a log, 0 to 1, that is to be compacted."),
		failed:    gauge("fanfold_compaction_failed_logs", "Logs whose compaction failed and is tried again later."),
		fill:      gauge("fanfold_compaction_buffer_ratio", "Share of log.cleaner.dedupe.buffer.size, 0 to 1, that the last pass used."),
	}
	if reg != nil {
		reg.MustRegister(s.seconds, s.bytes, s.records, s.removed, s.undecoded, s.dirtiest, s.failed, s.fill)
	}
	return s
}

// observe takes account of a pass.
func (s *cleanerStats) observe(pass log.CompactStats, d time.Duration) {
	s.seconds.Observe(d.Seconds())
	s.records.Add(float64(pass.Records))
	s.removed.Add(float64(pass.Removed))
	s.undecoded.Add(float64(pass.Opaque))
	s.fill.Set(pass.MapFill)
}
