package broker

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/coordinator"
	"github.com/fanfold/fanfold/partition"
	"github.com/fanfold/fanfold/protocol/record"
)

// groupMetrics are what dashboards know of consumer groups: the names of
// kafka_exporter, and Fanfold's own beside them.
type groupMetrics struct {
	groups *groups

	batches prometheus.Counter
	records prometheus.Counter

	offset, offsetSum, lag, lagSum, members *prometheus.Desc
	lagSeconds, count, rebalances           *prometheus.Desc
}

// maxGroupMetrics is how many partitions of groups have metrics of their own.
// Above it, only sums for each group and topic are shown.
const maxGroupMetrics = 10_000

func newGroupMetrics(reg prometheus.Registerer, g *groups) *groupMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m := &groupMetrics{
		groups: g,
		batches: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fanfold_group_batches_total", Help: "Batches that group coordinators wrote: what gathers during a sync becomes one.",
		}),
		records: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fanfold_group_records_total", Help: "Records that group coordinators wrote.",
		}),
		offset:     desc("kafka_consumergroup_current_offset", "Committed offset of a group.", "consumergroup", "topic", "partition"),
		offsetSum:  desc("kafka_consumergroup_current_offset_sum", "Sum of a group's committed offsets of a topic.", "consumergroup", "topic"),
		lag:        desc("kafka_consumergroup_lag", "Records that a group has not committed yet.", "consumergroup", "topic", "partition"),
		lagSum:     desc("kafka_consumergroup_lag_sum", "Records of a topic that a group has not committed yet.", "consumergroup", "topic"),
		members:    desc("kafka_consumergroup_members", "Members of a group.", "consumergroup"),
		lagSeconds: desc("fanfold_consumergroup_lag_seconds", "Age of the oldest record that a group has not committed yet, by its batch's first timestamp; 0 where there is none.", "consumergroup", "topic", "partition"),
		count:      desc("fanfold_groups", "Groups that this node coordinates.", "type", "state"),
		rebalances: desc("fanfold_group_rebalances_total", "Rebalances of groups that this node coordinates: generations of classic groups, new target assignments of others."),
	}
	if reg != nil {
		reg.MustRegister(m.batches, m.records, m)
	}
	return m
}

// Describe names the metrics (prometheus.Collector).
func (m *groupMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.offset, m.offsetSum, m.lag, m.lagSum, m.members, m.lagSeconds, m.count, m.rebalances} {
		ch <- d
	}
}

// Collect reads the metrics (prometheus.Collector).
func (m *groupMetrics) Collect(ch chan<- prometheus.Metric) {
	if m.groups.srv.node == nil {
		return // not serving yet
	}
	type kindState struct{ kind, state string }
	counts := map[kindState]int{}
	var rebalances uint64
	var seen []groupView
	for _, s := range m.groups.all() {
		views, n := s.view()
		rebalances += n
		seen = append(seen, views...)
	}
	partitions := 0
	for i := range seen {
		counts[kindState{seen[i].Kind, seen[i].State}]++
		partitions += len(seen[i].offsets)
	}
	for k, n := range counts {
		ch <- prometheus.MustNewConstMetric(m.count, prometheus.GaugeValue, float64(n), k.kind, k.state)
	}
	ch <- prometheus.MustNewConstMetric(m.rebalances, prometheus.CounterValue, float64(rebalances))
	image, now := m.groups.srv.node.Image(), time.Now()
	for i := range seen {
		ch <- prometheus.MustNewConstMetric(m.members, prometheus.GaugeValue, float64(seen[i].Members), seen[i].ID)
		m.collectOffsets(ch, image, &seen[i], partitions <= maxGroupMetrics, now)
	}
}

// collectOffsets shows one group's offsets, which come by topic.
func (m *groupMetrics) collectOffsets(ch chan<- prometheus.Metric, image *cluster.Image, g *groupView, each bool, now time.Time) {
	var topic *cluster.Topic
	var offsets, lags float64
	flush := func() {
		if topic != nil {
			ch <- prometheus.MustNewConstMetric(m.offsetSum, prometheus.GaugeValue, offsets, g.ID, topic.Name)
			ch <- prometheus.MustNewConstMetric(m.lagSum, prometheus.GaugeValue, lags, g.ID, topic.Name)
		}
		offsets, lags = 0, 0
	}
	for _, o := range g.offsets {
		if topic == nil || topic.Name != o.Topic {
			flush()
			topic = image.Topic(o.Topic)
		}
		if topic == nil {
			continue
		}
		r, err := m.groups.srv.replicaOf(topic, o.Partition)
		if err != nil {
			continue
		}
		lag := max(r.HighWatermark()-max(o.Offset, r.LogStartOffset()), 0)
		offsets += float64(o.Offset)
		lags += float64(lag)
		if !each {
			continue
		}
		number := strconv.Itoa(int(o.Partition))
		ch <- prometheus.MustNewConstMetric(m.offset, prometheus.GaugeValue, float64(o.Offset), g.ID, topic.Name, number)
		ch <- prometheus.MustNewConstMetric(m.lag, prometheus.GaugeValue, float64(lag), g.ID, topic.Name, number)
		ch <- prometheus.MustNewConstMetric(m.lagSeconds, prometheus.GaugeValue, oldestUnread(r, o.Offset, lag, now).Seconds(), g.ID, topic.Name, number)
	}
	flush()
}

// oldestUnread is the age of the batch that holds the first record which is not
// committed.
func oldestUnread(r Replica, offset, lag int64, now time.Time) time.Duration {
	if lag == 0 {
		return 0
	}
	got := r.Read(partition.FetchRequest{
		Offset: max(offset, r.LogStartOffset()), MaxBytes: record.HeaderBytes, AtLeastOne: true,
		CurrentLeaderEpoch: -1, LastFetchedEpoch: -1,
	})
	defer got.Records.Release()
	var head [record.HeaderBytes]byte
	if got.Err != nil || got.Records.Len() < len(head) {
		return 0
	}
	if _, err := got.Records.ReadAt(head[:], 0); err != nil {
		return 0
	}
	h, err := record.ParseHeader(head[:])
	if err != nil {
		return 0
	}
	return max(now.Sub(time.UnixMilli(h.BaseTimestamp)), 0)
}

// groupView is what metrics show of a group.
type groupView struct {
	coordinator.GroupInfo
	offsets []coordinator.OffsetInfo // by topic
}

// view is what metrics show of a shard's groups, and how many rebalances it has
// seen.
func (s *groupShard) view() ([]groupView, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.active {
		return nil, 0
	}
	var views []groupView
	at := map[string]int{}
	for g := range s.mu.machine.Groups {
		at[g.ID] = len(views)
		views = append(views, groupView{GroupInfo: g})
	}
	for o := range s.mu.machine.Offsets {
		v := &views[at[o.Group]]
		v.offsets = append(v.offsets, o)
	}
	return views, rebalancesOf(s.mu.machine.Stats())
}

func rebalancesOf(s coordinator.Stats) uint64 { return s.Rebalances + s.TargetAssignments }
