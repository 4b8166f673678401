package broker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// nodeStats are the metrics of what a LocalNode does beside requests.
type nodeStats struct {
	syncSeconds prometheus.Histogram
	syncFiles   prometheus.Counter
	scrubbed    prometheus.Counter
	corruptions prometheus.Counter
	offline     prometheus.GaugeFunc
}

func newNodeStats(reg prometheus.Registerer, n *LocalNode) *nodeStats {
	s := &nodeStats{
		syncSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fanfold_log_sync_seconds", Help: "Time that one fdatasync or syncfs took.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 2, 18),
		}),
		syncFiles: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fanfold_log_synced_files_total", Help: "Files that were made durable; several by one syncfs count each.",
		}),
		scrubbed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fanfold_log_scrubbed_bytes_total", Help: "Bytes that the scrubber has read and checked.",
		}),
		corruptions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fanfold_log_corruptions_total", Help: "Damage that the scrubber found in stored data.",
		}),
	}
	s.offline = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fanfold_partitions_offline", Help: "Replicas of this node that take no writes because of an error.",
	}, func() float64 { return float64(n.offlineReplicas()) })
	if reg != nil {
		reg.MustRegister(s.syncSeconds, s.syncFiles, s.scrubbed, s.corruptions, s.offline)
	}
	return s
}

func (s *nodeStats) synced(d time.Duration, files int) {
	s.syncSeconds.Observe(d.Seconds())
	s.syncFiles.Add(float64(files))
}

// offlineReplicas counts the replicas that take no writes because of an error.
func (n *LocalNode) offlineReplicas() int {
	count := 0
	for _, t := range n.replicas.Load().topics {
		for _, r := range t.replicas {
			if r != nil && (r.failed.Load() != nil || r.part.Offline() != nil) {
				count++
			}
		}
	}
	return count
}
