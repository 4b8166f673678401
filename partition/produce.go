package partition

import (
	"math"
	"runtime"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/protocol"
	"github.com/fanfold/fanfold/protocol/record"
)

// pending is a produced batch on its way through the log.
type pending struct {
	header     record.Header
	term       uint64
	acks       int16
	tag        int
	sink       ProduceSink
	base       int64 // offset, once stored
	appendTime int64
	answered   bool
	duplicates []duplicate // the same batch, sent again meanwhile
}

// duplicate is a batch that was sent again while the first was under way: it
// gets the same answer.
type duplicate struct {
	acks int16
	tag  int
	sink ProduceSink
}

// Produce checks one record batch and proposes it. The outcome goes to sink
// under tag, possibly before Produce returns. The bytes belong to the partition
// until the sink's Released; base offset, leader epoch and, where the topic
// says so, timestamps are written into them.
func (p *Partition) Produce(batch []byte, acks int16, tag int, sink ProduceSink) {
	if err := p.produce(batch, acks, tag, sink); err != nil {
		sink.Produced(tag, p.failure(err))
		sink.Released(tag)
	}
}

func (p *Partition) failure(err error) ProduceResult {
	return ProduceResult{
		BaseOffset: -1, LogAppendTime: -1, LogStartOffset: p.logStart.Load(),
		LeaderEpoch: p.epoch.Load(), Err: err,
	}
}

func (p *Partition) produce(batch []byte, acks int16, tag int, sink ProduceSink) error {
	cfg := p.config.Load()
	// Cheap refusals come before the checksum.
	if _, err := p.writable(); err != nil {
		return err
	}
	if acks == AcksAll && int(p.inSync.Load()) < cfg.MinInsyncReplicas {
		return protocol.Errorf(kerr.NotEnoughReplicas, "%d replicas are in sync, min.insync.replicas is %d", p.inSync.Load(), cfg.MinInsyncReplicas)
	}
	pd := &pending{acks: acks, tag: tag, sink: sink, base: -1, appendTime: -1}
	batch, err := p.prepare(cfg, batch, pd)
	if err != nil {
		return err
	}
	return p.propose(batch, pd)
}

// prepare checks the batch and makes it final: what is proposed is what is
// stored, but for base offset and leader epoch.
func (p *Partition) prepare(cfg *Config, batch []byte, pd *pending) ([]byte, error) {
	if len(batch) > cfg.MaxMessageBytes && !cfg.Recompress {
		return nil, protocol.Errorf(kerr.MessageTooLarge, "batch of %d bytes, max.message.bytes is %d", len(batch), cfg.MaxMessageBytes)
	}
	h, err := record.Validate(batch)
	if err != nil {
		return nil, err
	}
	if h.BaseOffset != 0 {
		return nil, protocol.Errorf(kerr.InvalidRecord, "the batch's base offset is %d: a producer's is 0", h.BaseOffset)
	}
	if h.IsTransactional() {
		return nil, protocol.Errorf(kerr.InvalidTxnState, "transactional batches are not supported yet")
	}
	if h.TimestampType() == record.LogAppendTime {
		return nil, protocol.Errorf(kerr.InvalidTimestamp, "the batch says LogAppendTime, which only brokers set")
	}
	nowMillis := p.now().UnixMilli()
	if batch, err = decoded(cfg, batch, &h, nowMillis); err != nil {
		return nil, err
	}
	if len(batch) > cfg.MaxMessageBytes {
		return nil, protocol.Errorf(kerr.MessageTooLarge, "batch of %d bytes, max.message.bytes is %d", len(batch), cfg.MaxMessageBytes)
	}
	if cfg.LogAppendTime {
		record.SetLogAppendTime(batch, nowMillis)
		pd.appendTime = nowMillis
	}
	pd.header, err = record.ParseHeader(batch)
	return batch, err
}

// decodes bounds how many batches are decoded at once in this process: each may
// take tens of megabytes, and more at once would be no faster.
var decodes = make(chan struct{}, min(4, runtime.GOMAXPROCS(0)))

// decoded does what the records have to be looked at for.
func decoded(cfg *Config, batch []byte, h *record.Header, nowMillis int64) ([]byte, error) {
	recompress := cfg.Recompress && h.Codec() != cfg.Codec
	if h.Codec() != record.None && (recompress || cfg.Compact || cfg.TimestampBeforeMaxMillis != math.MaxInt64) {
		decodes <- struct{}{}
		defer func() { <-decodes }()
	}
	limits := record.Limits{MaxDecompressedBytes: cfg.MaxDecompressedBytes}
	if !cfg.LogAppendTime {
		if err := checkTimestamps(cfg, batch, h, nowMillis, limits); err != nil {
			return nil, err
		}
	}
	check := record.Check{Keys: cfg.Compact}
	if recompress {
		return record.Recompress(batch, cfg.Codec, cfg.CodecLevel, limits, check)
	}
	if cfg.Compact {
		if _, err := record.CheckRecords(batch, limits, check); err != nil {
			return nil, err
		}
	}
	return batch, nil
}

// checkTimestamps holds create times to message.timestamp.before.max.ms and
// after.max.ms. The latest is in the header; the earliest needs the records.
func checkTimestamps(cfg *Config, batch []byte, h *record.Header, now int64, limits record.Limits) error {
	latest := max(h.MaxTimestamp, h.BaseTimestamp)
	if cfg.TimestampAfterMaxMillis != math.MaxInt64 && latest > 0 && latest-now > cfg.TimestampAfterMaxMillis {
		return protocol.Errorf(kerr.InvalidTimestamp, "timestamp %d is %d ms ahead of the broker's clock, message.timestamp.after.max.ms is %d", latest, latest-now, cfg.TimestampAfterMaxMillis)
	}
	if cfg.TimestampBeforeMaxMillis == math.MaxInt64 {
		return nil
	}
	for r, err := range record.Records(batch, limits) {
		if err != nil {
			return err
		}
		// −1 is no timestamp, which is not held to anything.
		if ts := h.BaseTimestamp + r.TimestampDelta; ts != -1 && ts < now-cfg.TimestampBeforeMaxMillis {
			return protocol.Errorf(kerr.InvalidTimestamp, "timestamp %d of record %d is %d ms behind the broker's clock, message.timestamp.before.max.ms is %d", ts, r.OffsetDelta, now-ts, cfg.TimestampBeforeMaxMillis)
		}
	}
	return nil
}

// propose checks the producer's sequence and queues the batch, both under one
// lock: the order of checks is the order in the log.
func (p *Partition) propose(batch []byte, pd *pending) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	term, err := p.writable()
	if err != nil {
		return err
	}
	pd.term = term
	if pd.header.HasProducer() {
		known, err := p.mu.producers.check(&pd.header)
		if err != nil {
			return err
		}
		if known.found {
			p.answerDuplicate(known, pd)
			return nil
		}
	}
	if err := (*p.group.Load()).Propose(log.KindBatch, batch, term, pd); err != nil {
		return protocol.Errorf(kerr.NotLeaderForPartition, "%v", err)
	}
	if pd.header.HasProducer() {
		p.mu.producers.begin(pd)
		p.capProducers()
	}
	return nil
}

// capProducers forgets the longest silent producers where there are far too
// many. The caller holds mu.
func (p *Partition) capProducers() {
	if cfg := p.config.Load(); cfg.MaxProducers > 0 && len(p.mu.producers.byID) > 2*cfg.MaxProducers {
		p.mu.producers.expire(p.now().UnixMilli(), cfg.ProducerExpiration, cfg.MaxProducers)
	}
}

// answerDuplicate answers a batch that is in the log already with its first
// offset, or lets it wait for the one that is under way.
func (p *Partition) answerDuplicate(known knownBatch, pd *pending) {
	if known.inFlight != nil {
		known.inFlight.duplicates = append(known.inFlight.duplicates, duplicate{pd.acks, pd.tag, pd.sink})
		return
	}
	r := p.failure(nil)
	r.BaseOffset = known.offset
	pd.sink.Produced(pd.tag, r)
	pd.sink.Released(pd.tag)
}

// answer gives the outcome of pd, and of those that wait for the same batch,
// each once. Where it is not final yet those who asked for all acknowledgements
// wait on.
func (p *Partition) answer(pd *pending, err error, final bool) {
	r := p.failure(err)
	if err == nil {
		r.BaseOffset, r.LogAppendTime = pd.base, pd.appendTime
	}
	if !pd.answered {
		pd.answered = true
		pd.sink.Produced(pd.tag, r)
	}
	waiting := pd.duplicates[:0]
	for _, d := range pd.duplicates {
		if !final && d.acks == AcksAll {
			waiting = append(waiting, d)
			continue
		}
		d.sink.Produced(d.tag, r)
		d.sink.Released(d.tag)
	}
	clear(pd.duplicates[len(waiting):])
	pd.duplicates = waiting
}
