package log

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/fanfold/fanfold/protocol/record"
)

// cursorReach is how many entries a cursor is worth stepping over.
const cursorReach = 64

// cursors remember where the last look-ups by index ended, so that reading
// entries one after the other searches nothing.
type cursors struct {
	at   [4]place // index is that of the last entry before the place
	next int
}

func (c *cursors) clear() { *c = cursors{} }

// best is the nearest place before the entry index in the segment base.
func (c *cursors) best(base int64, index uint64) (place, bool) {
	var best place
	for _, p := range c.at {
		if p.base == base && p.index < index && p.index > best.index && index-p.index <= cursorReach {
			best = p
		}
	}
	return best, best.index > 0
}

// move puts p in place of the cursor that it came from, or of the oldest.
func (c *cursors) move(from, p place) {
	for i := range c.at {
		if c.at[i] == from || c.at[i] == p {
			c.at[i] = p
			return
		}
	}
	c.at[c.next%len(c.at)] = p
	c.next++
}

// Entry describes the entry at index, with the payload of one that is no
// batch; ErrNotFound, bare, below First and above Last. Reading one entry after
// the other costs one read each.
func (l *Log) Entry(index uint64) (EntryInfo, error) {
	for {
		info, cuts, err := l.entry(index)
		if err != nil && l.outdated(err, cuts) {
			continue
		}
		return info, err
	}
}

func (l *Log) entry(index uint64) (EntryInfo, uint64, error) {
	l.mu.Lock()
	cuts := l.mu.cuts
	if l.mu.closed {
		l.mu.Unlock()
		return EntryInfo{}, cuts, ErrClosed
	}
	if index < l.mu.state.firstEntries().firstIndex || index > l.mu.end.index {
		l.mu.Unlock()
		return EntryInfo{}, cuts, ErrNotFound
	}
	state := *l.mu.state
	if i := state.entryFrom(index); i < len(state.entries) && state.entries[i].index == index {
		j := l.mu.journal
		j.refs.Add(1)
		l.mu.Unlock()
		info, err := l.journalEntry(j, &state.entries[i])
		return info, cuts, errors.Join(err, j.release())
	}
	segs := l.mu.segs
	s := l.snap(sort.Search(len(segs), func(i int) bool { return segs[i].firstIndex > index }) - 1)
	from, known := l.mu.recent.findIndex(s.seg.base, index)
	if known {
		from.index--
	} else {
		from, known = l.mu.cursors.best(s.seg.base, index)
	}
	l.mu.Unlock()

	f := finder{l: l, snapshot: s}
	info, err := f.entry(&state, from, known, index)
	f.done()
	return info, cuts, errors.Join(err, s.seg.release())
}

// entry finds the batch of that index, from a place before it if one is known.
func (f *finder) entry(state *journalState, from place, known bool, index uint64) (EntryInfo, error) {
	origin := from
	if !known {
		from = place{base: f.seg.base, offset: f.seg.base, index: f.seg.firstIndex - 1}
		e, ok := f.l.searchIndex(f.seg, func(e indexEntry) bool { return f.seg.firstIndex+uint64(e.index) <= index }, f.window())
		if ok {
			from.offset, from.pos = f.seg.base+int64(e.offset), int64(e.pos)
			from.index = f.seg.firstIndex + uint64(e.index) - 1
		}
	}
	m := mergeFrom(state, point{base: f.seg.base, offset: from.offset, index: from.index, term: state.termAt(from.index)})
	r := newBatchReader(f.seg.file, from.pos, f.size, f.window())
	for {
		err := m.passEntries(index)
		var h record.Header
		if err == nil {
			h, err = r.header()
		}
		if errors.Is(err, io.EOF) {
			err = violation("segment ends before entry %d", index)
		}
		if err == nil {
			err = m.check(&h)
		}
		if err != nil {
			return EntryInfo{}, corruptIf(err, f.seg.path, r.pos, m.offset)
		}
		info := EntryInfo{
			Index: m.index + 1, Term: uint64(h.LeaderEpoch), Header: h, OffsetAt: h.BaseOffset,
			Segment: f.seg.base, Position: r.pos, Bytes: h.Bytes(),
		}
		m.pass(&h)
		r.skip(&h)
		if info.Index == index {
			f.l.moveCursor(f.cuts, origin, place{base: f.seg.base, offset: m.offset, pos: r.pos, index: index})
			return info, nil
		}
	}
}

func (l *Log) moveCursor(cuts uint64, from, to place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.cuts == cuts {
		l.mu.cursors.move(from, to)
	}
}

// journalEntry reads an entry's record.
func (l *Log) journalEntry(j *journalFile, m *entryMeta) (EntryInfo, error) {
	b := make([]byte, recordFixedBytes+int(m.bytes))
	pos := m.pos - recordFixedBytes
	var rec journalRecord
	_, err := readFull(j.file, b, pos)
	if err == nil {
		rec, err = parseRecord(b)
	}
	if err == nil && rec.index != m.index {
		err = violation("journal record is entry %d, expected %d", rec.index, m.index)
	}
	if err != nil {
		return EntryInfo{}, fmt.Errorf("read journal: %w", corruptIf(err, j.file.Name(), pos, m.offset))
	}
	return EntryInfo{
		Index: m.index, Term: m.term, Kind: m.kind, Data: rec.data, OffsetAt: m.offset, Bytes: len(rec.data),
	}, nil
}

// BatchRange is the range of the batch that Entry described. ErrNotFound says
// that its segment was dropped or settled since.
func (l *Log) BatchRange(e EntryInfo) (Range, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return Range{}, ErrClosed
	}
	seg := l.mu.segs[l.segmentFor(e.Segment)]
	if e.Kind != KindBatch || e.Index < l.mu.state.firstEntries().firstIndex || seg.base != e.Segment || e.Position+int64(e.Bytes) > seg.size {
		return Range{}, ErrNotFound
	}
	seg.acquire()
	return Range{seg: seg, pos: e.Position, n: e.Bytes}, nil
}

// ReadBatch reads the batch that Entry described into buf, or into new memory
// where buf is too small, and checks its CRC.
func (l *Log) ReadBatch(e EntryInfo, buf []byte) ([]byte, error) {
	r, err := l.BatchRange(e)
	if err != nil {
		return nil, err
	}
	defer r.Release()
	if cap(buf) < r.n {
		buf = make([]byte, r.n)
	}
	buf = buf[:r.n]
	if _, err := readFull(r.seg.file, buf, r.pos); err != nil {
		return nil, fmt.Errorf("read batch: %w", corruptIf(err, r.seg.path, r.pos, e.OffsetAt))
	}
	if _, err := record.Verify(buf); err != nil {
		return nil, &CorruptionError{File: r.seg.path, Pos: r.pos, Offset: e.OffsetAt, Cause: err}
	}
	return buf, nil
}
