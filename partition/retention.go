package partition

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/log"
	"github.com/fanfold/fanfold/protocol"
)

// DeleteRecords moves the log start up to offset, or to the high watermark for
// −1; a topic that is compacted only refuses it, as in Kafka. done gets the new
// log start, or the error, from any goroutine; it must not block.
func (p *Partition) DeleteRecords(offset int64, done func(lowWatermark int64, err error)) {
	hw := p.hw.Load()
	if offset == -1 {
		offset = hw
	}
	switch {
	case p.config.Load().KeepRecords:
		done(-1, protocol.Errorf(kerr.PolicyViolation, "records cannot be deleted: cleanup.policy does not hold delete"))
		return
	case offset < -1 || offset > hw:
		done(-1, protocol.Errorf(kerr.OffsetOutOfRange, "offset %d is outside of %d–%d", offset, p.logStart.Load(), hw))
		return
	case offset <= p.logStart.Load():
		done(p.logStart.Load(), nil)
		return
	}
	if err := p.proposeStart(offset, &pendingStart{done: done}); err != nil {
		done(-1, err)
	}
}

func (p *Partition) proposeStart(offset int64, ps *pendingStart) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	term, err := p.writable()
	if err != nil {
		return err
	}
	payload := binary.BigEndian.AppendUint64(nil, uint64(offset))
	if err := (*p.group.Load()).Propose(KindLogStart, payload, term, ps); err != nil {
		return protocol.Errorf(kerr.NotLeaderForPartition, "%v", err)
	}
	return nil
}

// Retain moves the log start up behind what retention.ms and retention.bytes
// let go, segment by segment, the newest one too.
func (p *Partition) Retain() error {
	l := p.log.Load()
	if l == nil || p.writing.Load() == 0 {
		return nil
	}
	segments := l.Segments()
	start := p.retained(segments)
	if logStart := p.logStart.Load(); start <= logStart {
		// What is below the log start may still be there: after a restart, or
		// where the snapshot that its removal needs could not be written.
		if g := p.group.Load(); g != nil && !isEmpty(&segments[0]) && segments[0].EndOffset <= logStart {
			(*g).DropBefore(logStart)
		}
		return nil
	}
	return p.proposeStart(start, &pendingStart{})
}

// retained is the first offset that stays. As in Kafka the age of a segment is
// that of its newest record, or of the file where no record has a timestamp.
func (p *Partition) retained(segments []log.SegmentInfo) int64 {
	cfg, hw := p.config.Load(), p.hw.Load()
	oldest := p.now().UnixMilli() - cfg.RetentionMillis
	var total int64
	for _, s := range segments {
		total += s.Bytes
	}
	start := int64(0)
	for _, s := range segments {
		newest := s.MaxTimestamp
		if newest < 0 {
			newest = s.Modified.UnixMilli()
		}
		byTime := cfg.RetentionMillis >= 0 && newest < oldest
		byBytes := cfg.RetentionBytes >= 0 && total-s.Bytes >= cfg.RetentionBytes
		if isEmpty(&s) || s.EndOffset > hw || (!byTime && !byBytes) {
			break
		}
		start = s.EndOffset
		total -= s.Bytes
	}
	return start
}

// isEmpty says whether nothing was written to a segment yet. One that compaction
// emptied still stands for its offsets.
func isEmpty(s *log.SegmentInfo) bool { return s.Active && s.Bytes == 0 }
