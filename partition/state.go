package partition

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
)

// The state in a snapshot manifest, all numbers big-endian:
//
//	format version          uint16
//	applied index           uint64
//	high watermark          int64
//	log start               int64
//	epochs: count           uint32, each epoch int32, offset int64
//	producers: count        uint32, each
//	  id int64, epoch int16, timestamp int64, last touched int64 (both ms),
//	  batches: count uint8, each first and last sequence int32, offset int64
const stateVersion = 1

const (
	epochBytes    = 4 + 8
	producerBytes = 8 + 2 + 8 + 8 + 1
	batchBytes    = 4 + 4 + 8
)

// Snapshot encodes the state as of the newest applied entry.
func (p *Partition) Snapshot() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := binary.BigEndian.AppendUint16(nil, stateVersion)
	b = binary.BigEndian.AppendUint64(b, p.mu.applied)
	b = binary.BigEndian.AppendUint64(b, uint64(p.mu.hw))
	b = binary.BigEndian.AppendUint64(b, uint64(p.mu.logStart))
	b = binary.BigEndian.AppendUint32(b, uint32(len(p.mu.epochs)))
	for _, e := range p.mu.epochs {
		b = binary.BigEndian.AppendUint32(b, uint32(e.epoch))
		b = binary.BigEndian.AppendUint64(b, uint64(e.offset))
	}
	countAt := len(b)
	b = append(b, 0, 0, 0, 0)
	count := uint32(0)
	for _, pr := range p.mu.producers.sorted(func(a, b *producer) int { return cmp.Compare(a.id, b.id) }) {
		if len(pr.batches) > 0 {
			b = pr.encode(b)
			count++
		}
	}
	binary.BigEndian.PutUint32(b[countAt:], count)
	return b
}

func (pr *producer) encode(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(pr.id))
	b = binary.BigEndian.AppendUint16(b, uint16(pr.epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(pr.timestamp))
	b = binary.BigEndian.AppendUint64(b, uint64(pr.touched))
	b = append(b, byte(len(pr.batches)))
	for _, m := range pr.batches {
		b = binary.BigEndian.AppendUint32(b, uint32(m.firstSequence))
		b = binary.BigEndian.AppendUint32(b, uint32(m.lastSequence))
		b = binary.BigEndian.AppendUint64(b, uint64(m.offset))
	}
	return b
}

// state is a decoded snapshot.
type state struct {
	applied      uint64
	hw, logStart int64
	epochs       []epochStart
	producers    producerTable
}

var (
	errStateShort = errors.New("partition state is cut short")
	errStateWrong = errors.New("partition state contradicts itself")
)

// decodeState reads what Snapshot wrote; nil is the state of a new replica.
func decodeState(b []byte) (state, error) {
	s := state{}
	s.producers.init()
	if b == nil {
		return s, nil
	}
	if len(b) < 2+8+8+8+4 {
		return s, errStateShort
	}
	if v := binary.BigEndian.Uint16(b); v != stateVersion {
		return s, fmt.Errorf("partition state has format version %d, this program knows %d: use a newer fanfold", v, stateVersion)
	}
	s.applied = binary.BigEndian.Uint64(b[2:])
	s.hw = int64(binary.BigEndian.Uint64(b[10:]))
	s.logStart = int64(binary.BigEndian.Uint64(b[18:]))
	n := int(binary.BigEndian.Uint32(b[26:]))
	b = b[30:]
	if len(b)/epochBytes < n {
		return s, errStateShort
	}
	for range n {
		s.epochs = append(s.epochs, epochStart{int32(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint64(b[4:]))})
		b = b[epochBytes:]
		if i := len(s.epochs) - 1; i > 0 && (s.epochs[i].epoch <= s.epochs[i-1].epoch || s.epochs[i].offset < s.epochs[i-1].offset) {
			return s, errStateWrong
		}
	}
	if s.logStart < 0 || s.hw < s.logStart {
		return s, errStateWrong
	}
	return s, s.decodeProducers(b)
}

func (s *state) decodeProducers(b []byte) error {
	if len(b) < 4 {
		return errStateShort
	}
	n := int(binary.BigEndian.Uint32(b))
	b = b[4:]
	for range n {
		if len(b) < producerBytes || len(b) < producerBytes+int(b[producerBytes-1])*batchBytes {
			return errStateShort
		}
		pr := &producer{
			id:        int64(binary.BigEndian.Uint64(b)),
			epoch:     int16(binary.BigEndian.Uint16(b[8:])),
			timestamp: int64(binary.BigEndian.Uint64(b[10:])),
			touched:   int64(binary.BigEndian.Uint64(b[18:])),
		}
		batches := int(b[26])
		b = b[producerBytes:]
		for range batches {
			pr.batches = append(pr.batches, batchMeta{
				int32(binary.BigEndian.Uint32(b)), int32(binary.BigEndian.Uint32(b[4:])), int64(binary.BigEndian.Uint64(b[8:])),
			})
			b = b[batchBytes:]
		}
		if _, twice := s.producers.byID[pr.id]; twice || batches == 0 || batches > batchWindow {
			return errStateWrong
		}
		s.producers.byID[pr.id] = pr
	}
	if len(b) > 0 {
		return fmt.Errorf("partition state has %d bytes too many", len(b))
	}
	return nil
}

// Restore replaces the state by a snapshot's, or by a new replica's.
func (p *Partition) Restore(data []byte) (applied uint64, err error) {
	s, err := decodeState(data)
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.applied, p.mu.hw, p.mu.logStart = s.applied, s.hw, s.logStart
	p.mu.epochs, p.mu.producers = s.epochs, s.producers
	p.run.hw = s.hw
	if s.hw > p.hw.Load() {
		p.hw.Store(s.hw)
	}
	if s.logStart > p.logStart.Load() {
		p.logStart.Store(s.logStart)
	}
	if n := len(s.epochs); n > 0 {
		p.epoch.Store(max(p.epoch.Load(), s.epochs[n-1].epoch))
	}
	return s.applied, nil
}
