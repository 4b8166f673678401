package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/coordinator"
	"github.com/fanfold/fanfold/partition"
	"github.com/fanfold/fanfold/protocol/record"
)

// groupShard is this node's copy of one partition of __consumer_offsets: a
// coordinator's state machine that follows the partition's log, and steps while
// this replica leads.
//
// What gathers while a batch is being synced becomes the next batch. Answers
// are sent once what they tell of is committed. If a batch is not committed,
// the machine knows what is not so: it is thrown away and replayed.
type groupShard struct {
	groups  *groups
	number  int32
	replica Replica
	log     *slog.Logger

	memberBytes atomic.Int64 // what its members' metadata takes, as was known last
	recount     atomic.Bool  // memberBytes is to be looked at again

	wake chan struct{} // capacity 1: look at everything again

	mu struct {
		sync.Mutex
		machine  *coordinator.Machine
		topics   coordinator.Topics
		next     int64 // offset of the first record that is not replayed
		active   bool  // it leads, in epoch, and has replayed everything
		closed   bool
		epoch    int32
		inFlight *groupBatch              // proposed
		gathered []*groupBatch            // to be proposed, each as one batch
		parked   map[groupAnswer]struct{} // requests that the machine holds
		timer    *time.Timer
		armed    time.Time // when timer runs out
	}
}

// groupAnswer takes the answer to a request; it is the request's token. It is
// told once. Its methods must not block.
type groupAnswer interface {
	answered(resp kmsg.Response)
	// refused answers with that error.
	refused(err *kerr.Error)
}

// groupBatch is a batch of records, with the answers that wait for it.
type groupBatch struct {
	shard   *groupShard
	records []coordinator.Record
	bytes   int // about what they take
	answers []coordinator.Answer
	outcome atomic.Pointer[partition.ProduceResult]
}

// groupBatchBytes is how much gathers in one batch, unless one step makes more.
const groupBatchBytes = 512 << 10

func newGroupShard(g *groups, number int32, replica Replica, topics coordinator.Topics) *groupShard {
	s := &groupShard{
		groups: g, number: number, replica: replica, wake: make(chan struct{}, 1),
		log: g.srv.log.With("coordinator", number),
	}
	s.mu.topics = topics
	s.reset()
	return s
}

// reset begins anew with an empty machine. Callers hold mu, or nobody else has
// the shard yet.
func (s *groupShard) reset() {
	s.mu.machine = coordinator.New(s.groups.config(s), s.mu.topics)
	s.mu.next, s.mu.active = 0, false
	s.memberBytes.Store(0)
	s.mu.inFlight, s.mu.gathered = nil, nil
	s.mu.parked = map[groupAnswer]struct{}{}
}

// Advanced says that something was committed (partition.Waiter).
func (s *groupShard) Advanced(int) { s.look() }

func (s *groupShard) look() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run follows the log, proposes what gathered, and keeps the machine's time,
// until ctx ends.
func (s *groupShard) run(ctx context.Context) {
	s.replica.Watch(s, s.replica.HighWatermark())
	defer s.replica.Unwatch(s)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	s.mu.Lock()
	s.mu.timer = timer
	s.mu.Unlock()
	s.look()
	for {
		select {
		case <-ctx.Done():
			s.close()
			return
		case <-s.wake:
		case <-timer.C:
		}
		s.turn(ctx)
	}
}

// turn does what there is to do.
func (s *groupShard) turn(ctx context.Context) {
	s.finish()
	if !s.leads() {
		if err := s.follow(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("group state cannot be read; trying again", "error", err)
			s.mu.Lock()
			s.arm(time.Now(), time.Now().Add(time.Second))
			s.mu.Unlock()
		}
	}
	s.tick()
	if s.recount.Swap(false) {
		s.mu.Lock()
		s.memberBytes.Store(int64(s.mu.machine.MemberBytes()))
		s.mu.Unlock()
	}
}

// leads tells whether the machine steps. Where the replica's leadership has
// changed under it, it does not any more.
func (s *groupShard) leads() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.active && !s.stillLeads() {
		s.abandon("the leadership has changed", kerr.NotCoordinator)
	}
	return s.mu.active
}

// stillLeads: callers hold mu.
func (s *groupShard) stillLeads() bool {
	return s.replica.Serving() && s.replica.LeaderEpoch() == s.mu.epoch
}

// stepping tells whether the machine takes requests.
func (s *groupShard) stepping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.active
}

// abandon throws the machine away: what it knows may not be so. Callers hold
// mu.
func (s *groupShard) abandon(why string, code *kerr.Error) {
	s.log.Info("group coordinator stops here", "cause", why)
	batches := s.mu.gathered
	if s.mu.inFlight != nil {
		batches = append([]*groupBatch{s.mu.inFlight}, batches...)
	}
	parked := s.mu.parked
	s.reset()
	for _, b := range batches {
		for _, a := range b.answers {
			a.Token.(groupAnswer).refused(code)
		}
	}
	for a := range parked {
		a.refused(code)
	}
	s.look()
}

// follow replays what is committed and not yet known, and makes the machine
// step where this replica leads and nothing is left.
func (s *groupShard) follow(ctx context.Context) error {
	buf := make([]byte, 0, groupReadBytes)
	for ctx.Err() == nil {
		// In this order: what an earlier leader wrote is below the high
		// watermark of a leader that serves.
		serving, epoch := s.replica.Serving(), s.replica.LeaderEpoch()
		s.mu.Lock()
		next := max(s.mu.next, s.replica.LogStartOffset())
		if hw := s.replica.HighWatermark(); next >= hw {
			if serving {
				s.activate(epoch)
			}
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		var err error
		if buf, err = s.replayFrom(next, buf); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// activate: callers hold mu.
func (s *groupShard) activate(epoch int32) {
	s.mu.active, s.mu.epoch = true, epoch
	now := time.Now()
	s.log.Debug("group coordinator begins", "epoch", epoch, "offset", s.mu.next)
	s.carryOut(now, s.mu.machine.Activate(now))
	s.memberBytes.Store(int64(s.mu.machine.MemberBytes()))
	s.groups.began()
}

// groupReadBytes is how much of the log is read at a time, unless one batch is
// larger.
const groupReadBytes = 256 << 10

// replayFrom replays some batches. It owns buf until it returns it.
func (s *groupShard) replayFrom(offset int64, buf []byte) ([]byte, error) {
	r := s.replica.Read(partition.FetchRequest{
		Offset: offset, MaxBytes: groupReadBytes, AtLeastOne: true, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1,
	})
	defer r.Records.Release()
	if r.Err != nil {
		return buf, r.Err
	}
	n := r.Records.Len()
	if n == 0 {
		return buf, fmt.Errorf("nothing to read at offset %d below the high watermark %d", offset, r.HighWatermark)
	}
	if cap(buf) < n {
		buf = make([]byte, 0, n)
	}
	buf = buf[:n]
	if _, err := r.Records.ReadAt(buf, 0); err != nil {
		return buf, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for rest := buf; len(rest) > 0; {
		h, err := record.ParseHeader(rest)
		if err != nil {
			return buf, err
		}
		batch := rest[:min(h.Bytes(), len(rest))]
		if h, err = record.Verify(batch); err != nil {
			return buf, err
		}
		s.replayBatch(&h, batch)
		s.mu.next = h.NextOffset()
		rest = rest[len(batch):]
	}
	return buf, nil
}

// replayBatch: callers hold mu. What cannot be understood is skipped, loudly:
// one broken record must not take all groups away.
func (s *groupShard) replayBatch(h *record.Header, batch []byte) {
	if h.IsControl() {
		return
	}
	for r, err := range record.Records(batch, record.Limits{MaxDecompressedBytes: maxDecompressedBytes}) {
		if err == nil {
			err = s.mu.machine.Replay(r.Key, r.Value, time.UnixMilli(h.RecordTimestamp(r)))
		}
		if err != nil {
			s.log.Error("a record of a group is not understood and left out", "batch", h.BaseOffset, "error", err)
		}
	}
}

// submit hands a request to the machine, or refuses it.
func (s *groupShard) submit(req *coordinator.Request) {
	token := req.Token.(groupAnswer)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.mu.closed:
		token.refused(kerr.CoordinatorNotAvailable)
		return
	case !s.mu.active && s.replica.Serving():
		token.refused(kerr.CoordinatorLoadInProgress)
		return
	case !s.mu.active:
		token.refused(kerr.NotCoordinator)
		return
	case !s.stillLeads():
		s.abandon("the leadership has changed", kerr.NotCoordinator)
		token.refused(kerr.NotCoordinator)
		return
	}
	s.mu.parked[token] = struct{}{}
	s.step(time.Now(), req)
}

// tick tells the machine the time, if it is due.
func (s *groupShard) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.active {
		return
	}
	now := time.Now()
	if at, ok := s.mu.machine.Deadline(); ok && !at.After(now) {
		s.step(now, coordinator.Tick{})
		return
	}
	s.rearm(now)
}

// setTopics brings the newest topics.
func (s *groupShard) setTopics(t coordinator.Topics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.topics = t
	s.step(time.Now(), coordinator.TopicsChanged{Topics: t})
}

// step hands an event to the machine. Callers hold mu.
func (s *groupShard) step(now time.Time, e coordinator.Event) {
	s.carryOut(now, s.mu.machine.Step(now, e))
}

// carryOut appends and answers what the machine asks for. Callers hold mu.
func (s *groupShard) carryOut(now time.Time, out coordinator.Effects) {
	if len(out.Records) > 0 {
		s.gather(out.Records)
	}
	last := s.mu.inFlight
	if n := len(s.mu.gathered); n > 0 {
		last = s.mu.gathered[n-1]
	}
	for _, a := range out.Answers {
		token := a.Token.(groupAnswer)
		delete(s.mu.parked, token)
		if last == nil {
			token.answered(a.Response)
		} else {
			last.answers = append(last.answers, a)
		}
	}
	for _, n := range out.Notes {
		s.log.Info(n.Text, "group", clip(n.Group))
	}
	if s.mu.inFlight == nil && len(s.mu.gathered) > 0 {
		s.propose()
	}
	s.rearm(now)
}

// gather adds a step's records to what is proposed next: they stay in one
// batch. Callers hold mu.
func (s *groupShard) gather(records []coordinator.Record) {
	bytes := 0
	for _, r := range records {
		bytes += len(r.Key) + len(r.Value) + groupRecordOverhead
	}
	var b *groupBatch
	if n := len(s.mu.gathered); n > 0 && s.mu.gathered[n-1].bytes+bytes <= groupBatchBytes {
		b = s.mu.gathered[n-1]
	} else {
		b = &groupBatch{shard: s}
		s.mu.gathered = append(s.mu.gathered, b)
	}
	b.records = append(b.records, records...)
	b.bytes += bytes
}

// groupRecordOverhead is about what a record takes beside key and value.
const groupRecordOverhead = 20

// propose sends the first of what gathered towards the log. Callers hold mu.
func (s *groupShard) propose() {
	b := s.mu.gathered[0]
	s.mu.gathered[0] = nil
	s.mu.gathered = s.mu.gathered[1:]
	s.mu.inFlight = b
	data, err := b.encode(time.Now().UnixMilli())
	if err != nil {
		b.Produced(0, partition.ProduceResult{Err: err})
		return
	}
	s.groups.metrics.batches.Inc()
	s.groups.metrics.records.Add(float64(len(b.records)))
	// Its outcome may come at once: it is told to another goroutine, run.
	s.replica.Produce(data, partition.AcksAll, 0, b)
}

func (b *groupBatch) encode(now int64) ([]byte, error) {
	build, err := record.NewBuilder(0, 0)
	if err != nil {
		return nil, err
	}
	for _, r := range b.records {
		build.Append(now, r.Key, r.Value, nil)
	}
	return build.Build(make([]byte, 0, b.bytes+record.HeaderBytes))
}

// Produced is the batch's outcome (partition.ProduceSink). It may be called
// under the shard's mutex, from propose.
func (b *groupBatch) Produced(_ int, r partition.ProduceResult) {
	b.outcome.Store(&r)
	b.shard.look()
}

// Released says that nothing reads the batch's bytes any more.
func (b *groupBatch) Released(int) {}

// finish takes the outcome of the batch in flight, if it is there.
func (s *groupShard) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.mu.inFlight
	if b == nil {
		return
	}
	r := b.outcome.Load()
	if r == nil {
		return
	}
	switch {
	case r.Err != nil:
		s.abandon(fmt.Sprintf("a batch was not committed: %v", r.Err), refusalOf(r.Err))
		return
	case r.BaseOffset != s.mu.next:
		s.abandon(fmt.Sprintf("a batch has offset %d, not %d: others wrote", r.BaseOffset, s.mu.next), kerr.NotCoordinator)
		return
	}
	s.mu.inFlight = nil
	s.mu.next = r.BaseOffset + int64(len(b.records))
	for _, a := range b.answers {
		a.Token.(groupAnswer).answered(a.Response)
	}
	if len(s.mu.gathered) > 0 {
		s.propose()
	}
}

// refusalOf is what clients are told where a batch was not committed.
func refusalOf(err error) *kerr.Error {
	if errors.Is(err, kerr.NotLeaderForPartition) {
		return kerr.NotCoordinator
	}
	return kerr.CoordinatorNotAvailable
}

// rearm sets the timer to the machine's deadline. Callers hold mu.
func (s *groupShard) rearm(now time.Time) {
	if at, ok := s.mu.machine.Deadline(); ok && (s.mu.armed.IsZero() || at.Before(s.mu.armed) || !s.mu.armed.After(now)) {
		s.arm(now, at)
	}
}

func (s *groupShard) arm(now, at time.Time) {
	s.mu.armed = at
	if s.mu.timer != nil {
		s.mu.timer.Reset(max(at.Sub(now), 0))
	}
}

// close refuses what waits.
func (s *groupShard) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.closed = true
	s.abandon("the broker stops, or the partition left this node", kerr.NotCoordinator)
}
