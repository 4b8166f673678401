package partition

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/protocol/record"
)

// modelBatch is a batch of the model's log.
type modelBatch struct {
	epoch       int16
	first, last int32
	offset      int64 // −1: under way
	tags        []int // who waits for it
}

// producerModel says naively what Kafka promises to idempotent producers.
type producerModel struct {
	batches map[int64][]modelBatch // all, in order
}

// expect is what becomes of a batch that is sent now.
func (m *producerModel) expect(id int64, epoch int16, first, last int32) (duplicate *modelBatch, err error) {
	all := m.batches[id]
	if len(all) == 0 {
		return nil, nil
	}
	newest := all[len(all)-1]
	switch {
	case epoch < newest.epoch:
		return nil, kerr.InvalidProducerEpoch
	case epoch > newest.epoch && first != 0:
		return nil, kerr.OutOfOrderSequenceNumber
	case epoch > newest.epoch:
		return nil, nil
	}
	committed := 0
	for i := len(all) - 1; i >= 0 && all[i].epoch == epoch; i-- {
		if all[i].offset >= 0 {
			if committed++; committed > 5 {
				break
			}
		}
		if all[i].first == first && all[i].last == last {
			return &all[i], nil
		}
	}
	next := newest.last + 1
	if newest.last == math.MaxInt32 {
		next = 0
	}
	if first != next {
		return nil, kerr.OutOfOrderSequenceNumber
	}
	return nil, nil
}

// producerRun drives a partition and the model with the same batches.
type producerRun struct {
	*driver
	t     *rapid.T
	cfg   Config
	model producerModel
	sink  *sink
	tag   int
	state []byte
}

func (r *producerRun) send() {
	id := rapid.Int64Range(1, 3).Draw(r.t, "producer")
	all := r.model.batches[id]
	spec := batchSpec{producer: id, records: rapid.IntRange(1, 3).Draw(r.t, "records")}
	if n := len(all); n > 0 {
		at := all[n-1]
		spec.epoch, spec.sequence = at.epoch, record.AddSequence(at.last, 1)
		switch rapid.IntRange(0, 9).Draw(r.t, "how") {
		case 0, 1, 2: // again
			at = all[max(0, n-1-rapid.IntRange(0, 7).Draw(r.t, "back"))]
			spec.epoch, spec.sequence = at.epoch, at.first
			spec.records = int(uint32(at.last-at.first)&math.MaxInt32) + 1
		case 3:
			spec.sequence = record.AddSequence(spec.sequence, int32(rapid.IntRange(1, 3).Draw(r.t, "gap")))
		case 4:
			spec.epoch, spec.sequence = spec.epoch+1, 0
		case 5:
			spec.epoch++
		case 6:
			if spec.epoch > 0 {
				spec.epoch--
			}
		}
	} else {
		// What is not known may begin anywhere, also just before the wrap.
		spec.sequence = rapid.SampledFrom([]int32{0, 7, math.MaxInt32 - 1, math.MaxInt32}).Draw(r.t, "first")
	}
	r.tag++
	r.p.Produce(spec.build(r.t), AcksAll, r.tag, r.sink)
	last := record.AddSequence(spec.sequence, int32(spec.records-1))
	dup, err := r.model.expect(id, spec.epoch, spec.sequence, last)
	o := r.sink.get(r.tag)
	at := fmt.Sprintf("producer %d epoch %d sequences %d–%d", id, spec.epoch, spec.sequence, last)
	switch {
	case err != nil:
		if !errors.Is(o.Err, err) || o.answers != 1 {
			r.t.Fatalf("%s: %+v, want %v", at, o, err)
		}
	case dup != nil && dup.offset >= 0:
		if o.Err != nil || o.BaseOffset != dup.offset || o.answers != 1 {
			r.t.Fatalf("%s: %+v, want offset %d again", at, o, dup.offset)
		}
	case o.answers != 0:
		r.t.Fatalf("%s: answered before it is committed: %+v", at, o)
	case dup != nil:
		dup.tags = append(dup.tags, r.tag)
	default:
		r.model.batches[id] = append(all, modelBatch{spec.epoch, spec.sequence, last, -1, []int{r.tag}})
	}
}

// commitSome commits what was sent first.
func (r *producerRun) commitSome() {
	for _, e := range r.storeAndCommit(rapid.IntRange(1, 4).Draw(r.t, "commits")) {
		all := r.model.batches[e.Header.ProducerID]
		i := slices.IndexFunc(all, func(b modelBatch) bool { return b.offset < 0 })
		all[i].offset = e.Header.BaseOffset
		for _, tag := range all[i].tags {
			if o := r.sink.get(tag); o.answers != 1 || o.releases != 1 || o.Err != nil || o.BaseOffset != all[i].offset {
				r.t.Fatalf("tag %d: %+v, want offset %d", tag, o, all[i].offset)
			}
		}
	}
}

func (d *driver) storeAndCommit(n int) infos {
	list := d.store(n)
	d.commit(list)
	return list
}

// loseTerm drops what is under way; the next term begins.
func (r *producerRun) loseTerm() {
	r.p.SteppedDown()
	for _, q := range r.take(math.MaxInt) {
		r.p.Dropped(q.request, errors.New("leadership is lost"))
	}
	for id, all := range r.model.batches {
		for i, b := range all {
			if b.offset >= 0 {
				continue
			}
			for _, tag := range b.tags {
				if o := r.sink.get(tag); o.answers != 1 || o.Err == nil {
					r.t.Fatalf("tag %d was dropped: %+v", tag, o)
				}
			}
			r.model.batches[id] = all[:i]
			break
		}
	}
	r.lead(r.term + 1)
}

// restart goes on with a partition from a snapshot and the log behind it.
func (r *producerRun) restart() {
	r.loseTerm()
	from := r.state
	if rapid.Bool().Draw(r.t, "newest") {
		from = r.p.Snapshot()
	}
	p := r.replay(r.cfg, from)
	if got, want := p.Producers(), r.p.Producers(); !reflect.DeepEqual(got, want) {
		r.t.Fatalf("producers after a restart: %+v, before %+v", got, want)
	}
	if p.HighWatermark() != r.p.HighWatermark() || p.Serving() {
		r.t.Fatalf("after a restart: high watermark %d, serving %v", p.HighWatermark(), p.Serving())
	}
	r.p, r.sink.p = p, p
	p.Bind(r.driver)
	r.lead(r.term + 1)
}

func TestProducersModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &producerRun{t: t, cfg: defaultConfig(), model: producerModel{map[int64][]modelBatch{}}}
		r.driver = newDriver(t, r.cfg, log.Limits{})
		r.sink = newSink(r.p)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 20).Draw(t, "step") {
			case 0:
				r.loseTerm()
			case 1:
				r.restart()
			case 2:
				r.state = r.p.Snapshot()
			case 3, 4, 5, 6, 7:
				r.commitSome()
			default:
				r.send()
			}
		}
	})
}

func TestProducersExpire(t *testing.T) {
	cfg := defaultConfig()
	cfg.ProducerExpiration, cfg.MaxProducers = time.Hour, 4
	d := newDriver(t, cfg, log.Limits{})
	put := func(id int64, sequence int32) outcome {
		return d.produce(batchSpec{producer: id, sequence: sequence}, AcksAll)
	}
	ids := func() (list []int64) {
		for _, pr := range d.p.Producers() {
			list = append(list, pr.ProducerID)
		}
		return list
	}
	put(1, 0)
	d.clock.advance(time.Hour)
	put(2, 0)
	d.p.ExpireProducers()
	if got := ids(); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("after just an hour: %v", got)
	}
	d.clock.advance(time.Millisecond)
	d.p.ExpireProducers()
	if got := ids(); !slices.Equal(got, []int64{2}) {
		t.Errorf("after an hour: %v", got)
	}
	// What was forgotten may begin anywhere; what is known may not.
	if o := put(1, 77); o.Err != nil {
		t.Error(o.Err)
	}
	if o := put(2, 77); !errors.Is(o.Err, kerr.OutOfOrderSequenceNumber) {
		t.Errorf("%+v", o)
	}
	// The longest silent ones go where there are too many.
	for id := int64(3); id <= 20; id++ {
		d.clock.advance(time.Second)
		put(id, 0)
		if n := len(d.p.Producers()); n > 2*cfg.MaxProducers {
			t.Fatalf("%d producers are kept", n)
		}
	}
	d.p.ExpireProducers()
	if got := ids(); !slices.Equal(got, []int64{17, 18, 19, 20}) {
		t.Errorf("of too many these are kept: %v", got)
	}
	// A producer with a batch under way stays.
	s := newSink(d.p)
	d.p.Produce(batchSpec{producer: 20, sequence: 1}.build(t), AcksAll, 1, s)
	d.clock.advance(2 * time.Hour)
	d.p.ExpireProducers()
	if got := ids(); !slices.Equal(got, []int64{20}) {
		t.Errorf("kept: %v", got)
	}
	d.step()
}

func TestProducersDescribed(t *testing.T) {
	d := newDriver(t, defaultConfig(), log.Limits{})
	d.produce(batchSpec{producer: 9, epoch: 3, records: 4}, AcksAll)
	d.produce(batchSpec{producer: 2, sequence: 5}, AcksAll)
	want := []ProducerState{{2, 0, 5, start.UnixMilli()}, {9, 3, 3, start.UnixMilli()}}
	if got := d.p.Producers(); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestStateRoundTrip(t *testing.T) {
	d := newDriver(t, defaultConfig(), log.Limits{})
	for i := range 12 {
		d.produce(batchSpec{producer: int64(1 + i%3), sequence: int32(i / 3), epoch: 1}, AcksAll)
		if i%4 == 3 {
			d.lead(d.term + 2)
		}
	}
	d.p.DeleteRecords(5, func(int64, error) {})
	d.step()
	state := d.p.Snapshot()
	p := d.replay(defaultConfig(), state)
	if again := p.Snapshot(); !slices.Equal(again, state) {
		t.Fatalf("%x became %x", state, again)
	}
	if p.LogStartOffset() != 5 || p.HighWatermark() != 12 || p.LeaderEpoch() != 7 {
		t.Errorf("restored: from %d to %d in epoch %d", p.LogStartOffset(), p.HighWatermark(), p.LeaderEpoch())
	}
	for i := range state {
		if _, err := decodeState(state[:i]); err == nil {
			t.Fatalf("cut to %d of %d bytes: taken", i, len(state))
		}
	}
	if _, err := decodeState(append(slices.Clone(state), 0)); err == nil {
		t.Error("a byte too many is taken")
	}
	newer := slices.Clone(state)
	newer[1]++
	if _, err := decodeState(newer); err == nil {
		t.Error("a newer format is taken")
	}
}

func FuzzDecodeState(f *testing.F) {
	d := newDriver(f, defaultConfig(), log.Limits{})
	f.Add(d.p.Snapshot())
	d.produce(batchSpec{producer: 4}, AcksAll)
	d.lead(4)
	d.produce(batchSpec{producer: 4, sequence: 1}, AcksAll)
	f.Add(d.p.Snapshot())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			return
		}
		p := New(testIdentity, defaultConfig(), nil, nil)
		if applied, err := p.Restore(b); err != nil || applied != s.applied {
			t.Fatalf("restored up to %d, %v", applied, err)
		}
		again, err := decodeState(p.Snapshot())
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}
