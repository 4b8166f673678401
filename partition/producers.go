package partition

import (
	"cmp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/protocol"
	"github.com/fanfold/fanfold/protocol/record"
)

// batchWindow is how many batches of a producer are remembered, as in Kafka:
// a client keeps at most five requests in flight.
const batchWindow = 5

// batchMeta is one remembered batch of a producer.
type batchMeta struct {
	firstSequence int32
	lastSequence  int32
	offset        int64 // of its first record
}

// producer is what is known of one producer id in this partition: committed
// batches, and behind them those that are under way in this term.
type producer struct {
	id        int64
	epoch     int16 // of the committed batches
	timestamp int64 // of the last one, milliseconds
	touched   int64 // broker's clock, milliseconds: for expiry
	batches   []batchMeta
	inFlight  []*pending
}

// producerTable holds a partition's producers. The partition's mutex guards it.
type producerTable struct {
	byID map[int64]*producer
}

func (t *producerTable) init() { t.byID = map[int64]*producer{} }

// knownBatch is a batch that was seen before: in the log at offset, or still
// under way.
type knownBatch struct {
	found    bool
	offset   int64
	inFlight *pending
}

// latest is the newest epoch and, where there is a batch in it, its last
// sequence.
func (pr *producer) latest() (epoch int16, last int32, any bool) {
	if n := len(pr.inFlight); n > 0 {
		h := &pr.inFlight[n-1].header
		return h.ProducerEpoch, h.LastSequence(), true
	}
	if n := len(pr.batches); n > 0 {
		return pr.epoch, pr.batches[n-1].lastSequence, true
	}
	return pr.epoch, 0, false
}

// find looks for a batch among those remembered of its epoch.
func (pr *producer) find(h *record.Header) knownBatch {
	for _, pd := range pr.inFlight {
		if f := &pd.header; f.ProducerEpoch == h.ProducerEpoch && f.BaseSequence == h.BaseSequence && f.LastSequence() == h.LastSequence() {
			return knownBatch{found: true, inFlight: pd}
		}
	}
	if pr.epoch != h.ProducerEpoch {
		return knownBatch{}
	}
	for _, b := range pr.batches {
		if b.firstSequence == h.BaseSequence && b.lastSequence == h.LastSequence() {
			return knownBatch{found: true, offset: b.offset}
		}
	}
	return knownBatch{}
}

// check says whether a batch may be appended, was seen before, or comes out of
// order. A producer of which nothing is known may begin at any sequence: its
// records may have been deleted.
func (t *producerTable) check(h *record.Header) (knownBatch, error) {
	pr := t.byID[h.ProducerID]
	if pr == nil {
		return knownBatch{}, nil
	}
	epoch, last, any := pr.latest()
	if h.ProducerEpoch == epoch {
		if known := pr.find(h); known.found {
			return known, nil
		}
	}
	switch {
	case h.ProducerEpoch < epoch:
		return knownBatch{}, protocol.Errorf(kerr.InvalidProducerEpoch, "producer %d has epoch %d, which is over: it is %d now", h.ProducerID, h.ProducerEpoch, epoch)
	case h.ProducerEpoch > epoch && h.BaseSequence != 0:
		return knownBatch{}, protocol.Errorf(kerr.OutOfOrderSequenceNumber, "producer %d begins epoch %d at sequence %d instead of 0", h.ProducerID, h.ProducerEpoch, h.BaseSequence)
	case h.ProducerEpoch == epoch && any && h.BaseSequence != record.AddSequence(last, 1):
		return knownBatch{}, protocol.Errorf(kerr.OutOfOrderSequenceNumber, "producer %d epoch %d sent sequence %d, %d was expected", h.ProducerID, h.ProducerEpoch, h.BaseSequence, record.AddSequence(last, 1))
	}
	return knownBatch{}, nil
}

// begin remembers a batch that was proposed.
func (t *producerTable) begin(pd *pending) {
	id := pd.header.ProducerID
	pr := t.byID[id]
	if pr == nil {
		pr = &producer{id: id, epoch: pd.header.ProducerEpoch}
		t.byID[id] = pr
	}
	pr.inFlight = append(pr.inFlight, pd)
}

// commit remembers a batch that is in the log for good.
func (t *producerTable) commit(h *record.Header, now int64) {
	pr := t.byID[h.ProducerID]
	if pr == nil {
		pr = &producer{id: h.ProducerID, epoch: h.ProducerEpoch}
		t.byID[h.ProducerID] = pr
	}
	if pr.epoch != h.ProducerEpoch {
		pr.epoch, pr.batches = h.ProducerEpoch, pr.batches[:0]
	}
	if len(pr.batches) == batchWindow {
		copy(pr.batches, pr.batches[1:])
		pr.batches = pr.batches[:batchWindow-1]
	}
	pr.batches = append(pr.batches, batchMeta{h.BaseSequence, h.LastSequence(), h.BaseOffset})
	pr.timestamp, pr.touched = max(h.MaxTimestamp, h.BaseTimestamp), now
	for i, pd := range pr.inFlight {
		if pd.header.BaseSequence == h.BaseSequence && pd.header.ProducerEpoch == h.ProducerEpoch {
			pr.inFlight = slices.Delete(pr.inFlight, i, i+1)
			break
		}
	}
}

// forget drops a batch that did not make it into the log.
func (t *producerTable) forget(pd *pending) {
	pr := t.byID[pd.header.ProducerID]
	if pr == nil {
		return
	}
	if i := slices.Index(pr.inFlight, pd); i >= 0 {
		pr.inFlight = slices.Delete(pr.inFlight, i, i+1)
	}
	if len(pr.inFlight) == 0 && len(pr.batches) == 0 {
		delete(t.byID, pr.id)
	}
}

// dropSpeculative forgets everything that was proposed and is not committed.
func (t *producerTable) dropSpeculative() {
	for id, pr := range t.byID {
		pr.inFlight = nil
		if len(pr.batches) == 0 {
			delete(t.byID, id)
		}
	}
}

// expire forgets producers that were silent for longer than ttl, and the
// longest silent ones where there are more than most.
func (t *producerTable) expire(now int64, ttl time.Duration, most int) {
	for id, pr := range t.byID {
		if len(pr.inFlight) == 0 && now-pr.touched > ttl.Milliseconds() {
			delete(t.byID, id)
		}
	}
	if most <= 0 || len(t.byID) <= most {
		return
	}
	all := t.sorted(func(a, b *producer) int { return cmp.Compare(a.touched, b.touched) })
	for _, pr := range all[:len(all)-most] {
		if len(pr.inFlight) == 0 {
			delete(t.byID, pr.id)
		}
	}
}

func (t *producerTable) sorted(by func(a, b *producer) int) []*producer {
	all := make([]*producer, 0, len(t.byID))
	for _, pr := range t.byID {
		all = append(all, pr)
	}
	slices.SortFunc(all, by)
	return all
}

// Producers lists the producers with committed batches, by id.
func (p *Partition) Producers() []ProducerState {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []ProducerState
	for _, pr := range p.mu.producers.sorted(func(a, b *producer) int { return cmp.Compare(a.id, b.id) }) {
		if n := len(pr.batches); n > 0 {
			list = append(list, ProducerState{pr.id, pr.epoch, pr.batches[n-1].lastSequence, pr.timestamp})
		}
	}
	return list
}

// ExpireProducers forgets producers that were silent for too long.
func (p *Partition) ExpireProducers() {
	cfg := p.config.Load()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.producers.expire(p.now().UnixMilli(), cfg.ProducerExpiration, cfg.MaxProducers)
}
