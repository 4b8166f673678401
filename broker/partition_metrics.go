package broker

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// MaxPartitionMetrics is how many partitions have metrics of their own. Above
// it, only the sums are shown: four series for each of thousands of partitions
// would cost more than they tell.
const MaxPartitionMetrics = 2000

// partitionCollector reads sizes and offsets of this node's partitions when
// they are asked for.
type partitionCollector struct {
	node Node
	most int

	size, start, end, highWatermark *prometheus.Desc
	count, total                    *prometheus.Desc
}

// NewPartitionCollector collects size and offsets of each partition on the
// node, as long as there are at most that many; zero: MaxPartitionMetrics.
func NewPartitionCollector(node Node, most int) prometheus.Collector {
	labels := []string{"topic", "partition"}
	desc := func(name, help string, labels []string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &partitionCollector{
		node: node, most: orDefault(most, MaxPartitionMetrics),
		size:          desc("fanfold_partition_bytes", "Bytes of the partition's segments on this node.", labels),
		start:         desc("fanfold_partition_log_start_offset", "First offset that can be read.", labels),
		end:           desc("fanfold_partition_end_offset", "Offset that the next record gets.", labels),
		highWatermark: desc("fanfold_partition_high_watermark", "Offset below which records are committed.", labels),
		count:         desc("fanfold_partitions", "Partitions that have a replica on this node.", nil),
		total:         desc("fanfold_log_bytes", "Bytes of all segments on this node.", nil),
	}
}

// Describe names the metrics (prometheus.Collector).
func (p *partitionCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{p.size, p.start, p.end, p.highWatermark, p.count, p.total} {
		ch <- d
	}
}

// Collect reads the metrics (prometheus.Collector).
func (p *partitionCollector) Collect(ch chan<- prometheus.Metric) {
	image := p.node.Image()
	each := image.NumPartitions() <= p.most
	var count, total int64
	for t := range image.Topics() {
		for number := range t.Partitions {
			r, err := p.node.Replica(t.ID, int32(number))
			if err != nil {
				continue
			}
			size := r.SizeBytes()
			count++
			total += size
			if !each {
				continue
			}
			name := strconv.Itoa(number)
			ch <- prometheus.MustNewConstMetric(p.size, prometheus.GaugeValue, float64(size), t.Name, name)
			ch <- prometheus.MustNewConstMetric(p.start, prometheus.GaugeValue, float64(r.LogStartOffset()), t.Name, name)
			ch <- prometheus.MustNewConstMetric(p.end, prometheus.GaugeValue, float64(r.EndOffset()), t.Name, name)
			ch <- prometheus.MustNewConstMetric(p.highWatermark, prometheus.GaugeValue, float64(r.HighWatermark()), t.Name, name)
		}
	}
	ch <- prometheus.MustNewConstMetric(p.count, prometheus.GaugeValue, float64(count))
	ch <- prometheus.MustNewConstMetric(p.total, prometheus.GaugeValue, float64(total))
}
