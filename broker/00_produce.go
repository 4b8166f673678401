package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/cluster"
	"github.com/fanfold/fanfold/partition"
	"github.com/fanfold/fanfold/protocol"
	"github.com/fanfold/fanfold/protocol/record"
)

// Produce (0), versions 3–13; 0–2 are listed and refused (see apis).
//
//	3    record batches of version 2, transactional ids
//	4    KAFKA_STORAGE_ERROR
//	5    log start offset
//	6    the client waits out a throttle
//	7    zstd
//	8    error messages, and which records were wrong (KIP-467)
//	9    flexible
//	10   the current leader beside an error (KIP-951)
//	11   TRANSACTION_ABORTABLE (KIP-890)
//	12   transactions take in partitions by themselves (KIP-890)
//	13   topic ids for names
//
// The batches are handed to their partitions in the order read, on the
// reader's goroutine, without being copied.

const (
	produceZstdVersion     = 7 // the first whose clients may send zstd
	produceTopicIDsVersion = 13
)

// produceCall is a Produce request from when it was parsed until its answer is
// written and its bytes are released. It is the sink of all its batches.
type produceCall struct {
	srv      *Server
	conn     *conn
	call     *call // nil for acks=0: nothing is answered
	version  int16
	frame    *frame
	request  protocol.ProduceRequest
	granted  int64     // of the budget
	deadline time.Time // when what is pending is answered REQUEST_TIMED_OUT

	answer  protocol.ProduceResponse
	results []*protocol.ProduceResponsePartition // by tag
	claimed []atomic.Bool                        // by tag: has its result
	failed  atomic.Bool                          // some partition has an error

	// Each of these counts the reader, too, while it hands batches out.
	pending atomic.Int32 // batches without a result
	under   atomic.Int32 // batches that their partitions have not done with
	refs    atomic.Int32 // batches not released; for the reader stands the answer
}

// mostPooledBatches bounds what is kept of large requests.
const mostPooledBatches = 4096

var producePool = sync.Pool{New: func() any { return new(produceCall) }}

// startProduce parses a request and hands its batches to their partitions.
func (c *conn) startProduce(k *call, f *frame, body []byte) error {
	p := producePool.Get().(*produceCall)
	if err := protocol.ParseProduce(k.header.Version, body, &p.request); err != nil {
		p.recycle()
		f.free()
		k.finish()
		return badInputf("%v", err)
	}
	p.srv, p.conn, p.frame, p.version = c.srv, c, f, k.header.Version
	p.granted, k.granted = k.granted, 0
	p.deadline = k.began.Add(produceTimeout(p.request.TimeoutMillis))
	batches := int32(p.layOut())
	p.pending.Store(batches + 1)
	p.under.Store(batches + 1)
	p.refs.Store(batches + 1)
	if p.request.Acks == partition.AcksNone {
		k.finish()
	} else {
		p.call, k.answer, k.produce = k, p, p
		c.push(k)
		c.srv.produces.Add(1)
	}
	p.handOut()
	p.doneWith()
	if p.pending.Add(-1) == 0 {
		p.complete(byReader)
	}
	return nil
}

// produceTimeout is how long a request waits for its acknowledgement. None is
// named where it is not positive.
func produceTimeout(millis int32) time.Duration {
	if millis <= 0 {
		return longestWait
	}
	return min(time.Duration(millis)*time.Millisecond, longestWait)
}

// layOut makes the answer's topics and partitions, in the request's shape, and
// numbers the batches.
func (p *produceCall) layOut() (batches int) {
	p.results = p.results[:0]
	topics := p.answer.Topics[:0]
	for i := range p.request.Topics {
		asked := &p.request.Topics[i]
		if len(topics) < cap(topics) {
			topics = topics[:len(topics)+1] // with the partitions' slice of an earlier request
		} else {
			topics = append(topics, protocol.ProduceResponseTopic{})
		}
		t := &topics[i]
		t.Name, t.ID, t.Partitions = asked.Name, asked.ID, t.Partitions[:0]
		for j := range asked.Partitions {
			t.Partitions = append(t.Partitions, protocol.ProduceResponsePartition{
				Index: asked.Partitions[j].Index, BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1,
			})
		}
		for j := range t.Partitions {
			p.results = append(p.results, &t.Partitions[j])
		}
	}
	p.answer.Topics = topics
	batches = len(p.results)
	if cap(p.claimed) < batches {
		p.claimed = make([]atomic.Bool, batches)
	}
	p.claimed = p.claimed[:batches]
	for i := range p.claimed {
		p.claimed[i].Store(false)
	}
	return batches
}

// handOut gives each batch to its partition, in the request's order.
func (p *produceCall) handOut() {
	refusal := p.refusal()
	image := p.srv.node.Image()
	tag := 0
	for i := range p.request.Topics {
		asked := &p.request.Topics[i]
		t, err := p.topic(image, asked)
		if refusal != nil {
			err = refusal
		}
		for j := range asked.Partitions {
			failure := err
			if failure == nil {
				failure = p.produce(t, &asked.Partitions[j], tag)
			}
			if failure != nil {
				p.Produced(tag, partition.ProduceResult{BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1, LeaderEpoch: -1, Err: failure})
				p.Released(tag)
			}
			tag++
		}
	}
}

// refusal is why nothing of the request is taken.
func (p *produceCall) refusal() error {
	switch p.request.Acks {
	case partition.AcksNone, partition.AcksLeader, partition.AcksAll:
	default:
		return protocol.Errorf(kerr.InvalidRequiredAcks, "acks is %d: it is -1 (all), 0 or 1", p.request.Acks)
	}
	if p.request.TransactionalID != nil {
		return protocol.Errorf(kerr.InvalidTxnState, "transactions are not supported yet")
	}
	return nil
}

func (p *produceCall) topic(image *cluster.Image, asked *protocol.ProduceTopic) (t *cluster.Topic, err error) {
	if p.version >= produceTopicIDsVersion {
		t, err = topicByID(image, asked.ID)
	} else {
		t, err = topicByName(image, asked.Name)
	}
	if err == nil && t.Internal {
		return nil, protocol.Errorf(kerr.InvalidTopicException, "topic %q belongs to the broker, which alone writes to it", t.Name)
	}
	return t, err
}

// produce gives one batch to its partition; an error means that it did not.
func (p *produceCall) produce(t *cluster.Topic, asked *protocol.ProducePartition, tag int) error {
	r, err := p.srv.replicaOf(t, asked.Index)
	if err != nil {
		return err
	}
	if len(asked.Records) == 0 {
		return protocol.Errorf(kerr.InvalidRecord, "there is no record batch")
	}
	if p.version < produceZstdVersion {
		if h, err := record.ParseHeader(asked.Records); err == nil && h.Codec() == record.Zstd {
			return protocol.Errorf(kerr.UnsupportedCompressionType, "zstd needs version %d of Produce, this is %d", produceZstdVersion, p.version)
		}
	}
	r.Produce(asked.Records, p.request.Acks, tag, p)
	return nil
}

// Produced takes the outcome of a batch (partition.ProduceSink).
func (p *produceCall) Produced(tag int, r partition.ProduceResult) {
	p.doneWith()
	if p.claimed[tag].Swap(true) {
		return // it was answered REQUEST_TIMED_OUT
	}
	p.settle(tag, r)
	if p.pending.Add(-1) == 0 {
		p.complete(byCallback)
	}
}

func (p *produceCall) settle(tag int, r partition.ProduceResult) {
	out := p.results[tag]
	out.LogStartOffset = r.LogStartOffset
	if r.Err == nil {
		out.BaseOffset, out.LogAppendTime = r.BaseOffset, r.LogAppendTime
		return
	}
	p.failed.Store(true)
	out.Code, out.Message = protocol.ErrorOf(r.Err)
	p.srv.metrics.failed(out.Code)
}

// doneWith gives back the budget when all partitions have done with their
// batches. That may be later than the answer, where time was up.
func (p *produceCall) doneWith() {
	if p.under.Add(-1) == 0 {
		p.srv.releaseBytes(p.granted)
	}
}

// Released takes back a batch's bytes (partition.ProduceSink).
func (p *produceCall) Released(int) { p.unref() }

// unref gives everything back when nobody needs it any more.
func (p *produceCall) unref() {
	if p.refs.Add(-1) == 0 {
		p.frame.free()
		p.recycle()
	}
}

func (p *produceCall) recycle() {
	if cap(p.results) > mostPooledBatches {
		return
	}
	p.request.Reset()
	p.srv, p.conn, p.call, p.frame = nil, nil, nil, nil
	p.failed.Store(false)
	producePool.Put(p)
}

// complete is called once, when all batches have their results.
func (p *produceCall) complete(by completer) {
	if p.call != nil {
		p.conn.complete(p.call, by)
		return
	}
	if p.failed.Load() {
		// Nobody reads an answer to acks=0: the end of the connection is all
		// that the client gets to know.
		p.srv.hostile.log(p.conn.nc.RemoteAddr().String(), "connection closed: a produce with acks=0 failed: "+p.firstError())
		p.conn.stopReading()
	}
	p.unref()
}

func (p *produceCall) firstError() string {
	for _, r := range p.results {
		if r.Code != 0 {
			return kerr.ErrorForCode(r.Code).Error() + " " + r.Message
		}
	}
	return ""
}

// expire answers REQUEST_TIMED_OUT for what has no outcome when the request's
// time-out has passed: it may still be appended. It reports whether the answer
// is complete now.
func (p *produceCall) expire(now time.Time) bool {
	if now.Before(p.deadline) {
		return false
	}
	expired := int32(0)
	for tag := range p.claimed {
		if !p.claimed[tag].Swap(true) {
			p.settle(tag, partition.ProduceResult{
				BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1, LeaderEpoch: -1,
				Err: protocol.Errorf(kerr.RequestTimedOut, "not acknowledged within %d ms; it may still be appended", p.request.TimeoutMillis),
			})
			expired++
		}
	}
	return expired > 0 && p.pending.Add(-expired) == 0
}

// send writes the answer.
func (p *produceCall) send(w *answerWriter, k *call) (err error) {
	w.buf, err = protocol.AppendProduceResponse(w.buf, k.header, &p.answer)
	return err
}

// drop gives up the answer's hold.
func (p *produceCall) drop() {
	p.srv.produces.Add(-1)
	p.unref()
}
