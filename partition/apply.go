package partition

import (
	"encoding/binary"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/protocol"
)

// pendingStart is a proposed move of the log start.
type pendingStart struct {
	done func(lowWatermark int64, err error) // nil for retention
}

// The methods in this file are what the Raft group calls (replication.Machine),
// one at a time and in the order of the log.

// Attach gives the log to read from. After a failure it may end below the high
// watermark where the topic's flush.messages let that run ahead of the disk:
// what was not synced is gone.
func (p *Partition) Attach(l *log.Log) {
	p.log.Store(l)
	if end := l.EndOffset(); end < p.hw.Load() {
		p.hw.Store(end)
	}
	p.offline.Store(nil)
}

// LeaderStart is the command that opens this replica's term as leader.
func (p *Partition) LeaderStart() (log.Kind, []byte) {
	return KindLeaderStart, []byte(p.identity)
}

// Stored takes note of a batch that is durable in this log: Applied answers
// acks=1 and acks=0 with it.
func (p *Partition) Stored(e log.EntryInfo, request any) {
	pd, ok := request.(*pending)
	if !ok {
		return
	}
	pd.base = e.Header.BaseOffset
	if pd.acks != AcksAll {
		p.run.stored = append(p.run.stored, pd)
	}
}

// Apply takes a committed entry. What it changes is shown by Applied.
func (p *Partition) Apply(e log.EntryInfo, request any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.applied = e.Index
	switch e.Kind {
	case log.KindBatch:
		p.applyBatch(e, request)
	case KindLeaderStart:
		p.applyLeaderStart(e, request != nil)
	case KindLogStart:
		p.applyLogStart(e, request)
	}
}

func (p *Partition) applyBatch(e log.EntryInfo, request any) {
	p.run.hw = e.Header.NextOffset()
	p.mu.hw = p.run.hw
	p.run.bytes += e.Header.Bytes()
	if e.Header.HasProducer() {
		p.mu.producers.commit(&e.Header, p.now().UnixMilli())
		p.capProducers()
	}
	if pd, ok := request.(*pending); ok {
		pd.base = e.Header.BaseOffset
		p.run.done = append(p.run.done, pd)
	}
}

// applyLeaderStart begins an epoch. What an earlier leader had under way and
// is not before this entry will never be in the log. current says that this
// replica leads in that term: entries of former terms are applied again at a
// start.
func (p *Partition) applyLeaderStart(e log.EntryInfo, current bool) {
	epoch := int32(e.Term)
	p.mu.epochs = appendEpoch(p.mu.epochs, epochStart{epoch, e.OffsetAt})
	p.mu.producers.dropSpeculative()
	p.epoch.Store(epoch)
	if current && string(e.Data) == p.identity {
		p.caughtUp.Store(true)
		p.writing.Store(e.Term)
	} else {
		p.writing.Store(0)
	}
	p.changed()
}

func (p *Partition) applyLogStart(e log.EntryInfo, request any) {
	if len(e.Data) == 8 {
		offset := min(int64(binary.BigEndian.Uint64(e.Data)), p.run.hw)
		if offset > p.mu.logStart {
			p.mu.logStart = offset
			p.mu.epochs = trimEpochs(p.mu.epochs, offset)
		}
		if offset > p.logStart.Load() {
			p.logStart.Store(offset)
		}
	}
	if ps, ok := request.(*pendingStart); ok {
		p.run.moved = append(p.run.moved, ps)
	} else {
		p.run.moved = append(p.run.moved, nil)
	}
}

// Applied shows what was applied: the high watermark first, then the answers,
// so that who was answered can read what was written.
func (p *Partition) Applied() {
	if p.run.hw > p.hw.Load() {
		p.hw.Store(p.run.hw)
	}
	if len(p.run.done)+len(p.run.stored) > 0 {
		p.mu.Lock()
		for i, pd := range p.run.stored {
			p.answer(pd, nil, false)
			p.run.stored[i] = nil
		}
		p.run.stored = p.run.stored[:0]
		for _, pd := range p.run.done {
			p.answer(pd, nil, true)
		}
		p.mu.Unlock()
		for i, pd := range p.run.done {
			pd.sink.Released(pd.tag)
			p.run.done[i] = nil
		}
		p.run.done = p.run.done[:0]
	}
	if p.run.bytes > 0 {
		p.wake(p.run.bytes)
		p.run.bytes = 0
	}
	if len(p.run.moved) > 0 {
		p.logStartMoved()
	}
}

// logStartMoved lets files go and answers those who moved the log start.
func (p *Partition) logStartMoved() {
	start := p.logStart.Load()
	if g := p.group.Load(); g != nil {
		(*g).DropBefore(start)
	}
	for i, ps := range p.run.moved {
		if ps != nil && ps.done != nil {
			ps.done(start, nil)
		}
		p.run.moved[i] = nil
	}
	p.run.moved = p.run.moved[:0]
	p.wake(0)
}

// Dropped fails a proposal that is not in the log.
func (p *Partition) Dropped(request any, err error) {
	switch r := request.(type) {
	case *pending:
		p.mu.Lock()
		if r.header.HasProducer() {
			p.mu.producers.forget(r)
		}
		p.answer(r, p.dropError(err), true)
		p.mu.Unlock()
	case *pendingStart:
		if r.done != nil {
			r.done(-1, p.dropError(err))
		}
	}
}

// dropError is what a client gets where its request was not carried out: it
// may try again, here or at another leader.
func (p *Partition) dropError(err error) error {
	if off := p.Offline(); off != nil {
		err = off
	}
	var known *protocol.Error
	if errors.As(err, &known) {
		return known
	}
	var failed *log.FailedError
	if p.Offline() != nil || errors.As(err, &failed) {
		return protocol.Errorf(kerr.KafkaStorageError, "%v", err)
	}
	return protocol.Errorf(kerr.NotLeaderForPartition, "%v", err)
}

// SteppedDown ends this replica's leadership. Speculative producer state goes
// with it; the group drops what was proposed.
func (p *Partition) SteppedDown() {
	p.writing.Store(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.producers.dropSpeculative()
}

// Failed takes the replica offline for writes; reads go on.
func (p *Partition) Failed(err error) {
	p.offline.Store(&err)
	p.SteppedDown()
	p.changed()
}

// watch is a fetch that waits for more than since.
type watch struct {
	Waiter
	since int64
}

// wake tells the waiting fetches of bytes more; those that began to wait after
// the high watermark had moved know them.
func (p *Partition) wake(bytes int) {
	p.watch.Lock()
	p.run.wake = append(p.run.wake[:0], p.watch.waiters...)
	p.watch.Unlock()
	hw := p.hw.Load()
	for i, w := range p.run.wake {
		if bytes == 0 || w.since < hw {
			w.Advanced(bytes)
		}
		p.run.wake[i] = watch{}
	}
}

// Watch calls w's Advanced for what is committed from now on, and at once
// where the high watermark is above since already.
func (p *Partition) Watch(w Waiter, since int64) {
	p.watch.Lock()
	p.watch.waiters = append(p.watch.waiters, watch{w, since})
	p.watch.Unlock()
	if p.hw.Load() > since {
		w.Advanced(int(^uint32(0) >> 1))
	}
}

// Unwatch ends a Watch.
func (p *Partition) Unwatch(w Waiter) {
	p.watch.Lock()
	defer p.watch.Unlock()
	for i, other := range p.watch.waiters {
		if other.Waiter == w {
			last := len(p.watch.waiters) - 1
			p.watch.waiters[i] = p.watch.waiters[last]
			p.watch.waiters[last] = watch{}
			p.watch.waiters = p.watch.waiters[:last]
			return
		}
	}
}
