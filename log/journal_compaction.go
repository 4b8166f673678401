package log

import (
	"math"
	"sort"
)

// What the journal says of compaction: which segments are settled, which of
// them were replaced, and how far the log is clean.

// isSettled says whether the segment of that base is before the first entry.
func (s *journalState) isSettled(base int64) bool {
	return base < s.firstEntries().base
}

// segmentAt is the number of the segment that holds offset, −1 below the first.
func (s *journalState) segmentAt(offset int64) int {
	return sort.Search(len(s.segs), func(i int) bool { return s.segs[i].base > offset }) - 1
}

// epochAt is the term of a batch at that offset, which is not below the log's
// start: that of the newest term that began there or before.
func (s *journalState) epochAt(offset int64) uint64 {
	i := sort.Search(len(s.terms), func(i int) bool { return s.terms[i].Offset > offset })
	if i == 0 {
		return s.segs[0].termBefore
	}
	return s.terms[i-1].Term
}

// isLeftOver says of a segment's file with data, which the journal does not
// know, whether a compaction or a drop left it.
func (s *journalState) isLeftOver(file segmentStart) bool {
	i := s.segmentAt(file.base)
	return file.gen > 0 || i < 0 || s.segs[i].gen > 0
}

// knows says whether a file's segment is part of the log.
func (s *journalState) knows(file segmentStart) bool {
	i := s.segmentAt(file.base)
	return i >= 0 && s.segs[i].base == file.base && s.segs[i].gen == file.gen
}

func (s *journalState) applySettle(r *journalRecord) error {
	i := s.startingAt(r)
	if i < s.settled {
		return violation("entries begin at offset %d, entry %d, which is not the start of a segment that has entries", r.offset, r.index)
	}
	s.settleSegments(i)
	return nil
}

// settleSegments forgets the entries before segment n. The starts of their terms
// are kept for their offsets. Slices are replaced, not changed.
func (s *journalState) settleSegments(n int) {
	s.settled = n
	first := s.firstEntries().firstIndex
	s.entries = append([]entryMeta(nil), s.entries[s.entryFrom(first):]...)
	s.terms = append([]termMeta(nil), s.terms...)
	for i := range s.terms {
		if s.terms[i].Index < first {
			s.terms[i].own = true
		}
	}
}

func (s *journalState) applyReplace(r *journalRecord) error {
	i, rep := s.startingAt(r), parseReplacement(r.data)
	if i < 0 || i >= s.settled {
		return violation("compacted segment at offset %d, entry %d, where no settled segment starts", r.offset, r.index)
	}
	n := s.segmentAt(rep.end) - i
	if n < 1 || i+n > s.settled || s.segs[i+n].base != rep.end {
		return violation("compacted segment from offset %d to %d, where no settled segment ends", r.offset, rep.end)
	}
	for _, old := range s.segs[i : i+n] {
		if rep.gen <= old.gen || rep.gen > math.MaxInt64 || rep.bytes < 0 || rep.bytes > maxRelative {
			return violation("compacted segment at offset %d is of generation %d, after %d, and of %d bytes", r.offset, rep.gen, old.gen, rep.bytes)
		}
	}
	s.replaceSegments(i, n, rep)
	return nil
}

// replaceSegments puts one compacted segment in the place of n from i on.
// Slices are replaced, not changed.
func (s *journalState) replaceSegments(i, n int, rep replacement) {
	segs := append([]segmentStart(nil), s.segs[:i+1]...)
	segs[i].compacted = rep.compacted
	s.segs = append(segs, s.segs[i+n:]...)
	s.settled -= n - 1
}

func (s *journalState) applyCleaned(r *journalRecord) error {
	if r.offset > s.firstEntries().base || r.offset < s.cleaned {
		return violation("compacted up to offset %d: settled up to %d, compacted up to %d before", r.offset, s.firstEntries().base, s.cleaned)
	}
	s.setCleaned(r.offset)
	return nil
}

func (s *journalState) setCleaned(offset int64) {
	if s.cleaned = offset; offset <= s.segs[0].base {
		s.cleaned = 0
	}
}

// cleanedRecord is the record of how far the log is compacted.
func (s *journalState) cleanedRecord(offset int64) journalRecord {
	first := s.firstEntries()
	return journalRecord{typ: recordCleaned, index: first.firstIndex, term: first.termBefore, offset: offset}
}

// compactionBytes is the length of what liveCompaction yields.
func (s *journalState) compactionBytes() int64 {
	n := int64(0)
	s.liveCompaction(func(r journalRecord, _ *entryMeta) bool {
		n += r.bytes()
		return true
	})
	return n
}

// liveCompaction yields the records of this file.
func (s *journalState) liveCompaction(yield func(r journalRecord, entry *entryMeta) bool) {
	if s.settled > 0 {
		first := s.firstEntries()
		if !yield(journalRecord{typ: recordSettle, index: first.firstIndex, term: first.termBefore, offset: first.base}, nil) {
			return
		}
	}
	for i, seg := range s.segs[:s.settled] {
		if seg.gen == 0 {
			continue
		}
		if !yield(seg.replaceRecord(replacement{s.segs[i+1].base, seg.compacted}), nil) {
			return
		}
	}
	if s.cleaned > 0 {
		yield(s.cleanedRecord(s.cleaned), nil)
	}
}

// replaceRecord says that the segments from s to rep's end are replaced.
func (s segmentStart) replaceRecord(rep replacement) journalRecord {
	return journalRecord{typ: recordReplace, index: s.firstIndex, term: s.termBefore, offset: s.base, data: rep.encode()}
}
