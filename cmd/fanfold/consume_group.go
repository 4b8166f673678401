package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	assignorAuto = "auto"

	// commitEvery is how often what was written is committed: what a crash
	// may have read again.
	commitEvery = time.Second
	// heartbeatEvery is how soon a classic group's change is noticed.
	heartbeatEvery = time.Second
	// leaveWithin is how long the last commit and the leaving may take.
	leaveWithin = 5 * time.Second
	// pollRecords is the most that is written before a rebalance may go on.
	pollRecords = 10_000
)

// groupPlan is the group that consume is a member of.
type groupPlan struct {
	name      string
	protocol  string // classic or consumer
	balancers []kgo.GroupBalancer
}

// classicBalancers are the assignors of the classic protocol, by name.
var classicBalancers = map[string]func() kgo.GroupBalancer{
	"cooperative-sticky": kgo.CooperativeStickyBalancer,
	"sticky":             kgo.StickyBalancer,
	"range":              kgo.RangeBalancer,
	"roundrobin":         kgo.RoundRobinBalancer,
}

// groupPlan checks the flags of groups; nil means that none is given.
func (f *consumeFlags) groupPlan(changed func(string) bool) (*groupPlan, error) {
	if !changed("group") {
		for _, name := range []string{"group-protocol", "assignor"} {
			if changed(name) {
				return nil, usagef("--%s is for --group", name)
			}
		}
		return nil, nil
	}
	if f.group == "" {
		return nil, usagef("--group must not be empty")
	}
	plan := &groupPlan{name: f.group, protocol: f.protocol.value}
	name := f.assignor.value
	if plan.protocol == "classic" {
		if name == assignorAuto {
			// The same in the same order as Java's consumer offers: it fits into
			// groups of most clients, and does not change what they have chosen.
			plan.balancers = []kgo.GroupBalancer{kgo.RangeBalancer(), kgo.CooperativeStickyBalancer()}
			return plan, nil
		}
		if classicBalancers[name] == nil {
			return nil, usagef("--assignor %s is for --group-protocol consumer", name)
		}
		plan.balancers = []kgo.GroupBalancer{classicBalancers[name]()}
		return plan, nil
	}
	switch name {
	case assignorAuto, "uniform":
		plan.balancers = []kgo.GroupBalancer{kgo.StickyBalancer()} // asks the broker for uniform
	case "range":
		plan.balancers = []kgo.GroupBalancer{kgo.RangeBalancer()}
	default:
		return nil, usagef("--assignor %s is for --group-protocol classic; consumer has uniform and range", name)
	}
	return plan, nil
}

// served checks that the broker has the protocol: the client library would
// silently use the classic one.
func (p *groupPlan) served(ctx context.Context, c *client) error {
	if p.protocol != "consumer" {
		return nil
	}
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, c.Client)
	if err != nil {
		return c.explain(ctx, "ask which requests are served", err)
	}
	if slices.ContainsFunc(resp.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool {
		return k.ApiKey == int16(kmsg.ConsumerGroupHeartbeat) && k.MaxVersion >= 1
	}) {
		return nil
	}
	return errors.New("the broker does not serve KIP-848's group protocol (Kafka does from 4.0 on); use --group-protocol classic")
}

// A groupReader reads as a member of a group into a sink. The client calls
// assigned and revoked on goroutines of its own, which end with it.
type groupReader struct {
	app    *app
	client *client
	plan   *consumePlan
	sink   sink
	meter  *meter
	bounds *bounds
	taken  int64
	warned bool // that no broker can be reached
	heard  time.Time

	mu struct {
		sync.Mutex
		// pending is what this member has to read, of the partitions it has.
		pending map[partitionOf]*offsetRange
		// left is where the group has to get to, of the partitions where it is
		// not known to be yet; nil where the reading has no end.
		left map[partitionOf]int64
		// commitErr is the last failure to commit in between.
		commitErr error
	}
}

// readGroup reads as a member of plan.group.
func (a *app) readGroup(ctx context.Context, f *consumeFlags, plan *consumePlan, bounds *bounds, sink sink) error {
	r := &groupReader{app: a, plan: plan, sink: sink, meter: newMeter(), bounds: bounds, heard: time.Now()}
	r.mu.pending = make(map[partitionOf]*offsetRange)
	if plan.to != nil {
		r.mu.left = make(map[partitionOf]int64)
		for _, p := range bounds.partitions {
			to, err := bounds.to(p)
			if err != nil {
				return err
			}
			r.mu.left[p] = to
		}
	}
	reset := kgo.NewOffset().AtStart()
	if plan.from.kind == atEnd {
		reset = kgo.NewOffset().AtEnd()
	}
	opts := append(f.fetchOptions(),
		kgo.ConsumeTopics(plan.topics...),
		kgo.ConsumerGroup(plan.group.name),
		kgo.Balancers(plan.group.balancers...),
		kgo.ConsumeResetOffset(reset),
		kgo.HeartbeatInterval(heartbeatEvery),
		kgo.BlockRebalanceOnPoll(),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(commitEvery),
		kgo.AutoCommitCallback(func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			r.committed(resp, err)
		}),
		kgo.AdjustFetchOffsetsFn(r.assigned),
		kgo.OnPartitionsRevoked(r.revoked),
		kgo.OnPartitionsLost(r.drop),
	)
	if plan.group.protocol == "consumer" {
		opts = append(opts, kgo.ServerSideBalancer())
	}
	c, err := a.connect(ctx, opts...)
	if err != nil {
		return err
	}
	r.client = c
	done := a.showReceived(r.meter, plan, f.quiet)
	err = r.run(ctx)
	done()
	if leaveErr := r.leave(ctx); err == nil {
		err = leaveErr
	}
	return err
}

// assigned is called with the partitions that the member got and the offsets
// that the group has committed for them, and gives where to begin.
func (r *groupReader) assigned(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, partitions := range offsets {
		for number, offset := range partitions {
			p := partitionOf{topic, number}
			at := offset.EpochOffset().Offset
			if at < 0 {
				// A partition that came into being meanwhile has no bounds.
				if from, err := r.bounds.from(p); err == nil {
					at = from
					partitions[number] = kgo.NewOffset().At(from)
				}
			}
			to, err := r.bounds.to(p)
			if err != nil {
				to = 0
			}
			r.mu.pending[p] = &offsetRange{max(at, 0), to}
		}
	}
	return offsets, nil
}

// revoked is called before partitions go to another member, and at the end.
func (r *groupReader) revoked(ctx context.Context, cl *kgo.Client, lost map[string][]int32) {
	ctx, cancel := context.WithTimeout(ctx, leaveWithin)
	defer cancel()
	if err := commitMarked(ctx, cl); err != nil {
		r.committed(nil, err)
	}
	r.drop(ctx, cl, lost)
}

// drop forgets partitions that the member no longer has.
func (r *groupReader) drop(_ context.Context, cl *kgo.Client, lost map[string][]int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, partitions := range lost {
		for _, p := range partitions {
			delete(r.mu.pending, partitionOf{topic, p})
		}
	}
	cl.ResumeFetchPartitions(lost)
}

// run reads until there is enough, the group has read all, or ctx ends.
func (r *groupReader) run(ctx context.Context) error {
	for {
		if done, err := r.done(ctx); done || err != nil {
			return err
		}
		polling, cancel := context.WithTimeout(ctx, idleAfter)
		fetches := r.client.PollRecords(polling, pollRecords)
		cancel()
		err := r.take(fetches)
		r.client.AllowRebalance()
		switch {
		case errors.Is(err, errEnough):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return r.interrupted()
		case fetches.NumRecords() > 0:
			r.heard, r.warned = time.Now(), false
			continue
		}
		if err := r.idle(ctx); err != nil {
			return err
		}
	}
}

func (r *groupReader) interrupted() error {
	if r.plan.bounded() {
		return errInterrupted
	}
	return nil
}

// take writes the records of a poll, and marks them to be committed once they
// are written. Ownership of their partitions does not change meanwhile.
func (r *groupReader) take(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if err := r.fetchError(e); err != nil {
			return err
		}
	}
	written := make(map[partitionOf]*kgo.Record)
	var err error
	for iter := fetches.RecordIter(); !iter.Done() && err == nil; {
		record := iter.Next()
		if !r.wants(record) {
			continue
		}
		if !record.Attrs.IsControl() {
			if err = r.write(record); err != nil && !errors.Is(err, errEnough) {
				break
			}
		}
		written[partitionOf{record.Topic, record.Partition}] = record
	}
	if flushErr := r.sink.flush(); flushErr != nil {
		return flushErr
	}
	for _, record := range written {
		r.client.MarkCommitRecords(record)
	}
	return err
}

// wants tells whether a record is within its partition's range, which it moves
// on.
func (r *groupReader) wants(record *kgo.Record) bool {
	p := partitionOf{record.Topic, record.Partition}
	r.mu.Lock()
	defer r.mu.Unlock()
	pending := r.mu.pending[p]
	if pending == nil || record.Offset < pending.from {
		return false
	}
	wanted := pending.to < 0 || record.Offset < pending.to
	if pending.from = record.Offset + 1; pending.to >= 0 && pending.from >= pending.to {
		delete(r.mu.left, p)
		r.client.PauseFetchPartitions(map[string][]int32{p.topic: {p.partition}})
	}
	return wanted
}

func (r *groupReader) write(record *kgo.Record) error {
	if err := r.sink.write(record); err != nil {
		return err
	}
	r.meter.add(len(record.Key) + len(record.Value))
	if r.taken++; r.plan.count > 0 && r.taken == r.plan.count {
		return errEnough
	}
	return nil
}

// done tells whether the group has read up to the ends. What other members had
// to read is seen in what they have committed.
func (r *groupReader) done(ctx context.Context) (bool, error) {
	if r.plan.to == nil || !r.mineDone() {
		return false, nil
	}
	asking, cancel := context.WithTimeout(ctx, r.app.timeout)
	defer cancel()
	committed, err := committedOffsets(asking, r.client, r.plan.group.name)
	if ctx.Err() != nil {
		return false, r.interrupted()
	}
	var none *noSuchGroupError // nobody has joined yet
	if err != nil && !errors.As(err, &none) {
		return false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for p, to := range r.mu.left {
		at, ok := committed[p]
		if !ok {
			from, err := r.bounds.from(p)
			if err != nil {
				return false, err
			}
			at.At = from
		}
		if at.At >= to {
			delete(r.mu.left, p)
		}
	}
	return len(r.mu.left) == 0, nil
}

// mineDone tells whether this member has read all that it has to, as of now.
func (r *groupReader) mineDone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, pending := range r.mu.pending {
		if pending.from < pending.to {
			return false
		}
	}
	return true
}

// fetchError is nil for errors that the client heals by itself.
func (r *groupReader) fetchError(e kgo.FetchError) error {
	if errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled) {
		return nil // nothing came
	}
	var session *kgo.ErrGroupSession
	if errors.As(e.Err, &session) {
		return r.sessionError(session.Err)
	}
	if e.Topic == "" {
		return fmt.Errorf("group %q: %s", r.plan.group.name, protocolText(e.Err, ""))
	}
	return (&rangeReader{}).fetchError(e)
}

// sessionError is why the member is not in its group. It joins again by itself
// where that can help.
func (r *groupReader) sessionError(err error) error {
	name := r.plan.group.name
	var answered *kerr.Error
	switch {
	case !errors.As(err, &answered), answered.Retriable:
		return nil // idle tells of a broker that is away
	case slices.Contains([]*kerr.Error{kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.FencedMemberEpoch, kerr.StaleMemberEpoch, kerr.RebalanceInProgress}, answered):
		return nil // the group went on without it
	case answered == kerr.InconsistentGroupProtocol:
		return fmt.Errorf("group %q has members with another protocol or other assignors (INCONSISTENT_GROUP_PROTOCOL): see fanfold group describe %s, then choose --group-protocol and --assignor", name, name)
	case answered == kerr.GroupMaxSizeReached:
		return fmt.Errorf("group %q is full: the broker takes no more members (GROUP_MAX_SIZE_REACHED)", name)
	}
	return groupError(name, err, "")
}

// idle is called when nothing came for a while. Where no broker can be reached,
// a reading that has an end fails after --timeout, and one that has none says
// so once and waits on.
func (r *groupReader) idle(ctx context.Context) error {
	r.mu.Lock()
	commitErr := r.mu.commitErr
	r.mu.commitErr = nil
	r.mu.Unlock()
	_, dialErr := r.client.dialFailure()
	if dialErr == nil && commitErr == nil {
		r.warned = false
		return nil
	}
	err := r.client.explain(ctx, "wait for records", cmp.Or(commitErr, dialErr))
	if dialErr != nil && r.plan.bounded() && time.Since(r.heard) > r.app.timeout {
		return err
	}
	if !r.warned {
		r.warned = true
		r.app.complain(fmt.Errorf("%w; trying on", err))
	}
	return nil
}

// committed takes the outcome of a commit in between.
func (r *groupReader) committed(resp *kmsg.OffsetCommitResponse, err error) {
	if err = cmp.Or(err, commitError(resp)); err == nil || errors.Is(err, context.Canceled) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.commitErr = err
}

// commitError is the first error of an answer. That the group is changing is
// none: what was not committed will be.
func commitError(resp *kmsg.OffsetCommitResponse) error {
	if resp == nil {
		return nil
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			err := kerr.ErrorForCode(p.ErrorCode)
			if err != nil && !errors.Is(err, kerr.RebalanceInProgress) {
				return fmt.Errorf("topic %q, partition %d: %w", t.Topic, p.Partition, err)
			}
		}
	}
	return nil
}

// commitMarked commits what is marked.
func commitMarked(ctx context.Context, cl *kgo.Client) (err error) {
	marked := cl.MarkedOffsets()
	if len(marked) == 0 {
		return nil
	}
	cl.CommitOffsetsSync(ctx, marked, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, answerErr error) {
		err = cmp.Or(answerErr, commitError(resp))
	})
	return err
}

// leave commits what was written, leaves the group and closes the client. It
// does so too when ctx has ended.
func (r *groupReader) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	err := commitMarked(ctx, r.client.Client)
	if err != nil {
		err = fmt.Errorf("commit what was read: %s; it will be read again", protocolText(err, ""))
	}
	// A broker that does not hear of it takes the member out by its time-out.
	_ = r.client.LeaveGroupContext(ctx)
	r.client.CloseAllowingRebalance()
	return err
}
