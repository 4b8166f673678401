package log

import (
	"sort"
)

// TermStart is the first entry of a term: its index and the offset at which it
// stands. For Kafka, Term is the leader epoch and Offset its start offset.
type TermStart struct {
	Term   uint64
	Index  uint64
	Offset int64
}

// entryMeta is where the journal holds an entry.
type entryMeta struct {
	index  uint64
	term   uint64
	offset int64
	pos    int64 // of its payload in the journal
	bytes  int32 // of its payload
	kind   Kind
}

// termMeta is a TermStart; own says that a record of its own tells of it, and
// not an entry of the journal.
type termMeta struct {
	TermStart
	own bool
}

// journalState is what the records of a journal come to: what lives.
type journalState struct {
	header journalHeader
	segs   []segmentStart // at least one, in order

	// settled is how many of segs lie before the log's first entry: their
	// batches are read by offset alone. At least one segment is not.
	settled int

	// cleaned is the offset below which the log is compacted; 0 where it is not.
	cleaned int64

	// entries and terms are appended to in place: readers hold prefixes.
	entries []entryMeta
	terms   []termMeta

	begun *journalRecord // a truncation that is not done

	// floor is an offset below which all data was synced when some record was
	// written that still counts.
	floor int64
}

func newJournalState(h journalHeader) *journalState {
	return &journalState{header: h, segs: []segmentStart{h.first}, floor: h.first.base}
}

// first is where the log's offsets begin.
func (s *journalState) first() segmentStart { return s.segs[0] }

// firstEntries is the segment in which the log's entries begin.
func (s *journalState) firstEntries() segmentStart { return s.segs[s.settled] }

// lastTerm is the newest term that the journal knows of.
func (s *journalState) lastTerm() uint64 {
	if n := len(s.terms); n > 0 {
		return s.terms[n-1].Term
	}
	return s.segs[0].termBefore
}

// termAt is the term of the entry at index, which is not below First.
func (s *journalState) termAt(index uint64) uint64 {
	i := sort.Search(len(s.terms), func(i int) bool { return s.terms[i].Index > index })
	if i == 0 {
		return s.segs[0].termBefore
	}
	return s.terms[i-1].Term
}

// entryFrom is the number of the first entry of the journal with that index or
// a higher one.
func (s *journalState) entryFrom(index uint64) int {
	return sort.Search(len(s.entries), func(i int) bool { return s.entries[i].index >= index })
}

// apply takes the record that stands at pos.
func (s *journalState) apply(r *journalRecord, pos int64) error {
	if s.begun != nil && r.typ != recordTruncateDone {
		return violation("%v record in an unfinished truncation", r.typ)
	}
	switch r.typ {
	case recordEntry, recordTerm, recordRoll:
		s.supersede(r.index)
	}
	switch r.typ {
	case recordEntry:
		return s.applyEntry(r, pos)
	case recordTerm:
		return s.applyTerm(r)
	case recordRoll:
		return s.applyRoll(r)
	case recordFirst:
		return s.applyFirst(r)
	case recordTruncateBegin:
		return s.applyTruncate(r)
	case recordSettle:
		return s.applySettle(r)
	case recordReplace:
		return s.applyReplace(r)
	case recordCleaned:
		return s.applyCleaned(r)
	default:
		if b := s.begun; b == nil || b.index != r.index || b.offset != r.offset {
			return violation("end of a truncation from entry %d at offset %d that did not begin", r.index, r.offset)
		}
		s.begun = nil
		return nil
	}
}

// supersede forgets the start of a term whose batch was never written: what
// comes next has its index. Readers may hold the slice: it is not written to.
func (s *journalState) supersede(index uint64) {
	if n := len(s.terms); n > 0 && s.terms[n-1].own && s.terms[n-1].Index == index {
		s.terms = s.terms[: n-1 : n-1]
	}
}

// isNext says whether index is above all that the journal has told of.
func (s *journalState) isNext(index uint64) bool {
	e, t := len(s.entries), len(s.terms)
	return (e == 0 || s.entries[e-1].index < index) && (t == 0 || s.terms[t-1].Index < index)
}

// announced says whether the batch of that index may be of that term by what
// the journal says already; before is the term of the entry before it.
func (s *journalState) announced(index, term, before uint64) bool {
	if n := len(s.terms); n > 0 && s.terms[n-1].Index == index {
		return s.terms[n-1].Term == term
	}
	return term == before
}

func (s *journalState) applyEntry(r *journalRecord, pos int64) error {
	if !s.isNext(r.index) || r.index < s.segs[len(s.segs)-1].firstIndex {
		return violation("entry %d is out of order", r.index)
	}
	if r.offset < s.floor || r.term < s.lastTerm() {
		return violation("entry %d of term %d at offset %d: term or offset falls", r.index, r.term, r.offset)
	}
	s.addEntry(r, pos)
	return nil
}

func (s *journalState) addEntry(r *journalRecord, pos int64) {
	s.supersede(r.index)
	if r.term != s.lastTerm() {
		s.addTerm(r, false)
	}
	s.entries = append(s.entries, entryMeta{
		index: r.index, term: r.term, offset: r.offset, kind: r.kind,
		pos: pos + recordFixedBytes, bytes: int32(len(r.data)),
	})
	s.floor = r.offset
}

func (s *journalState) addTerm(r *journalRecord, own bool) {
	s.supersede(r.index)
	if r.term != s.lastTerm() { // else the record only takes another back
		s.terms = append(s.terms, termMeta{TermStart{Term: r.term, Index: r.index, Offset: r.offset}, own})
	}
	s.floor = r.offset
}

func (s *journalState) applyTerm(r *journalRecord) error {
	last := s.segs[len(s.segs)-1]
	if !s.isNext(r.index) || r.index < last.firstIndex {
		return violation("start of term %d at entry %d is out of order", r.term, r.index)
	}
	if r.offset < s.floor || r.term < s.lastTerm() {
		return violation("start of term %d at offset %d: term or offset falls", r.term, r.offset)
	}
	s.addTerm(r, true)
	return nil
}

func (s *journalState) applyRoll(r *journalRecord) error {
	last := s.segs[len(s.segs)-1]
	if !s.isNext(r.index) || r.index <= last.firstIndex || r.offset <= last.base || r.offset < s.floor || r.term != s.lastTerm() {
		return violation("roll at offset %d, entry %d, term %d is out of order", r.offset, r.index, r.term)
	}
	s.addRoll(r)
	return nil
}

func (s *journalState) addRoll(r *journalRecord) {
	s.supersede(r.index)
	s.segs = append(s.segs, segmentStart{base: r.offset, firstIndex: r.index, termBefore: r.term})
	s.floor = r.offset
}

func (s *journalState) applyFirst(r *journalRecord) error {
	i := s.startingAt(r)
	if i < 0 {
		return violation("log start at offset %d, entry %d is no segment's start", r.offset, r.index)
	}
	s.dropSegments(i)
	return nil
}

// startingAt is the number of the segment that starts where r says, −1 if there
// is none.
func (s *journalState) startingAt(r *journalRecord) int {
	i := sort.Search(len(s.segs), func(i int) bool { return s.segs[i].base >= r.offset })
	if i < len(s.segs) && s.segs[i].startsAt(r.offset, r.index, r.term) {
		return i
	}
	return -1
}

// dropSegments forgets the first n segments and all that stands before the
// next one. Slices are replaced, not changed.
func (s *journalState) dropSegments(n int) {
	s.segs = append([]segmentStart(nil), s.segs[n:]...)
	s.settled = max(0, s.settled-n)
	s.setCleaned(s.cleaned)
	first := s.segs[0].firstIndex
	s.entries = append([]entryMeta(nil), s.entries[s.entryFrom(first):]...)
	i := sort.Search(len(s.terms), func(i int) bool { return s.terms[i].Index >= first })
	s.terms = append([]termMeta(nil), s.terms[i:]...)
}

func (s *journalState) applyTruncate(r *journalRecord) error {
	if first := s.firstEntries(); r.index < first.firstIndex || r.offset < first.base {
		return violation("truncation from entry %d at offset %d reaches below the log's start", r.index, r.offset)
	}
	s.cut(r.index, r.offset)
	if base := s.segs[len(s.segs)-1].base; r.offset < base || r.term != s.lastTerm() {
		return violation("truncation from entry %d to offset %d, term %d: segment %d, term %d", r.index, r.offset, r.term, base, s.lastTerm())
	}
	begun := *r
	begun.data = nil
	s.begun = &begun
	return nil
}

// cut forgets what stands at index from or behind it, so that the log ends at
// offset. Slices are replaced, not changed.
func (s *journalState) cut(from uint64, offset int64) {
	keep := len(s.segs)
	for keep > s.settled+1 && s.segs[keep-1].firstIndex >= from {
		keep--
	}
	s.segs = append([]segmentStart(nil), s.segs[:keep]...)
	s.entries = append([]entryMeta(nil), s.entries[:s.entryFrom(from)]...)
	i := sort.Search(len(s.terms), func(i int) bool { return s.terms[i].Index >= from })
	s.terms = append([]termMeta(nil), s.terms[:i]...)
	s.floor = offset
}

// liveBytes is what a journal takes that holds what lives, and no more.
func (s *journalState) liveBytes() int64 {
	n := int64(journalHeaderBytes) + int64(len(s.segs)-1)*recordFixedBytes
	for i := range s.entries {
		n += recordFixedBytes + int64(s.entries[i].bytes)
	}
	for i := range s.terms {
		if s.terms[i].own {
			n += recordFixedBytes
		}
	}
	return n + s.compactionBytes()
}

// live yields what lives as records in the order in which they were written:
// by index, and at one index the roll, the start of a term, the entry; last what
// compaction did. Entries come with their place instead of their data.
func (s *journalState) live(yield func(r journalRecord, entry *entryMeta) bool) {
	e, t := 0, 0
	for i := range s.segs {
		if i > 0 {
			seg := s.segs[i]
			if !yield(journalRecord{typ: recordRoll, index: seg.firstIndex, term: seg.termBefore, offset: seg.base}, nil) {
				return
			}
		}
		limit := ^uint64(0)
		if i+1 < len(s.segs) {
			limit = s.segs[i+1].firstIndex
		}
		for {
			switch {
			case t < len(s.terms) && s.terms[t].Index < limit && (e == len(s.entries) || s.terms[t].Index <= s.entries[e].index):
				st := s.terms[t]
				t++
				if st.own && !yield(journalRecord{typ: recordTerm, index: st.Index, term: st.Term, offset: st.Offset}, nil) {
					return
				}
				continue
			case e < len(s.entries) && s.entries[e].index < limit:
				m := &s.entries[e]
				e++
				if !yield(journalRecord{typ: recordEntry, kind: m.kind, index: m.index, term: m.term, offset: m.offset}, m) {
					return
				}
				continue
			}
			break
		}
	}
	s.liveCompaction(yield)
}
