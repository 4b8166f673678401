package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/protocol/record"
)

// Report is what Verify and Dump saw of a log that nobody has open.
type Report struct {
	Dir         string
	First, Last uint64 // indexes; Last is First − 1 where there is no entry
	StartOffset int64
	EndOffset   int64
	Segments    int
	Batches     int64
	Records     int64 // as the batches' headers count them
	Entries     int64 // of the journal
	Bytes       int64 // of segments and journal
	CleanStop   bool

	// Damage is in what was durable: it costs data, or trust in it.
	Damage []*CorruptionError

	// LeftOvers are what the next start cuts, removes or finishes: the torn
	// tail of a crash, and steps that one interrupted.
	LeftOvers []*CorruptionError

	// Caches are index entries and files that the next start, or a reader,
	// does without.
	Caches []*CorruptionError
}

// OK says that nothing durable is damaged.
func (r *Report) OK() bool { return len(r.Damage) == 0 }

// VerifyOptions say how closely to look.
type VerifyOptions struct {
	Records bool // decode every record too
}

// Verify reads every file of the log in dir, which nobody has open, and reports
// all damage that it finds. It changes nothing. An error says that it could not
// read.
func Verify(ctx context.Context, fsys vfs.FS, dir string, opts VerifyOptions) (*Report, error) {
	return Dump(ctx, fsys, dir, DumpOptions{CheckRecords: opts.Records}, func(Item) error { return nil })
}

// inspector goes through the files of a log.
type inspector struct {
	ctx    context.Context
	fs     vfs.FS
	dir    string
	opts   DumpOptions
	emit   func(Item) error
	report *Report

	names        map[string]bool
	mark         mark
	marked       bool
	state        *journalState
	journalBytes int64 // of the journal that are good
	seen         bool  // the place that the mark names was passed
}

func (in *inspector) path(name string) string { return filepath.Join(in.dir, name) }

func (in *inspector) run() error {
	names, err := in.fs.List(in.dir)
	if err != nil {
		return err
	}
	in.names = map[string]bool{}
	for _, name := range names {
		in.names[name] = true
		if strings.HasSuffix(name, deletedSuffix) || strings.HasSuffix(name, tmpSuffix) {
			if err := in.leftOver(name, -1, -1, errors.New("left by a drop or a rewrite; removed at the next start")); err != nil {
				return err
			}
		}
	}
	if err := in.inspectMark(); err != nil {
		return err
	}
	if err := in.inspectJournal(); err != nil || in.state == nil {
		return err
	}
	if err := in.inspectNames(names); err != nil {
		return err
	}
	for i := range in.state.segs {
		if err := in.inspectSegment(i); err != nil {
			return err
		}
	}
	if in.marked && !in.seen && !in.state.isSettled(in.mark.at.base) {
		return in.damage(markName, -1, in.mark.at.offset, errors.New("the mark names a place that the log does not have"))
	}
	return nil
}

// found appends to one of the report's lists and emits it.
func (in *inspector) found(list *[]*CorruptionError, what ProblemKind, name string, pos, offset int64, cause error) error {
	p := &CorruptionError{File: in.path(name), Pos: pos, Offset: offset, Cause: cause}
	*list = append(*list, p)
	return in.emit(Item{File: p.File, Pos: pos, Problem: &Problem{Kind: what, Offset: offset, Cause: cause.Error()}})
}

func (in *inspector) damage(name string, pos, offset int64, cause error) error {
	return in.found(&in.report.Damage, ProblemDamage, name, pos, offset, cause)
}

func (in *inspector) leftOver(name string, pos, offset int64, cause error) error {
	return in.found(&in.report.LeftOvers, ProblemLeftOver, name, pos, offset, cause)
}

func (in *inspector) cache(name string, pos, offset int64, cause error) error {
	return in.found(&in.report.Caches, ProblemCache, name, pos, offset, cause)
}

func (in *inspector) inspectMark() error {
	f, err := in.fs.Open(in.path(markName))
	if isNotExist(err) {
		return in.leftOver(markName, -1, -1, errors.New("missing: the next start reads the whole last segment"))
	}
	if err != nil {
		return err
	}
	defer f.Close()
	m, ok, problems, err := readMark(f)
	if err != nil {
		return in.damage(markName, 0, -1, err)
	}
	for i, problem := range problems {
		if problem != nil {
			if err := in.leftOver(markName, int64(i)*markSlotBytes, -1, problem); err != nil {
				return err
			}
		}
	}
	in.mark, in.marked = m, ok
	if !ok {
		return nil
	}
	in.report.CleanStop = m.clean
	return in.emit(Item{File: f.Name(), Pos: int64(m.seq%2) * markSlotBytes, Mark: &MarkItem{
		Sequence: m.seq, CleanStop: m.clean, Segment: m.at.base, Position: m.at.pos, EndOffset: m.at.offset,
		Index: m.at.index, Term: m.at.term, JournalGeneration: m.generation, JournalBytes: m.journalBytes,
	}})
}

// inspectJournal replays the journal; state stays nil where that is not
// possible.
func (in *inspector) inspectJournal() error {
	f, err := in.fs.Open(in.path(journalName))
	if isNotExist(err) {
		return in.damage(journalName, -1, -1, errors.New("missing"))
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := journalReader{file: f}
	h, err := r.open()
	if err != nil {
		return in.damage(journalName, 0, -1, err)
	}
	known := h.bytes
	if in.marked && in.mark.generation == h.generation {
		known = max(known, in.mark.journalBytes)
	}
	if in.marked && in.mark.generation > h.generation {
		err := fmt.Errorf("generation %d, the mark knows of %d", h.generation, in.mark.generation)
		if err := in.damage(journalName, 0, -1, err); err != nil {
			return err
		}
	}
	in.report.Bytes += r.size
	in.state = newJournalState(h)
	return in.journalRecords(&r, known)
}

func (in *inspector) journalRecords(r *journalReader, known int64) error {
	for {
		if err := in.ctx.Err(); err != nil {
			return err
		}
		pos := r.pos
		in.journalBytes = pos
		rec, err := r.next()
		atEnd := errors.Is(err, io.EOF)
		switch {
		case atEnd && pos >= known:
			return nil
		case atEnd:
			return in.damage(journalName, pos, -1, fmt.Errorf("the journal ends here, %d bytes were synced", known))
		case violationOf(err) != nil && pos < known:
			return in.damage(journalName, pos, -1, err)
		case violationOf(err) != nil:
			return in.leftOver(journalName, pos, -1, fmt.Errorf("torn tail of %d bytes: %w", r.size-pos, err))
		case err != nil:
			return err
		}
		if err := in.state.apply(&rec, pos); err != nil {
			return in.damage(journalName, pos, rec.offset, err)
		}
		if rec.typ == recordEntry {
			in.report.Entries++
		}
		if err := in.emit(journalItem(r.file.Name(), pos, &rec)); err != nil {
			return err
		}
	}
}

// inspectNames compares the files that are there with those that the journal
// knows.
func (in *inspector) inspectNames(names []string) error {
	last := in.state.segs[len(in.state.segs)-1].base
	for _, name := range names {
		file, ok := parseName(name, logSuffix)
		if !ok || in.state.knows(file) {
			continue
		}
		info, err := in.fs.Stat(in.path(name))
		if err != nil {
			return err
		}
		switch {
		case in.state.isLeftOver(file), info.Size() == 0, in.state.begun != nil && file.base > last:
			err = in.leftOver(name, -1, file.base, errors.New("no longer, or not yet, part of the log; removed at the next start"))
		default:
			err = in.damage(name, -1, file.base, fmt.Errorf("segment of %d bytes that the journal does not know", info.Size()))
		}
		if err != nil {
			return err
		}
	}
	if b := in.state.begun; b != nil {
		return in.leftOver(journalName, -1, b.offset, fmt.Errorf("a truncation from entry %d was begun; the next start finishes it", b.index))
	}
	return nil
}

// segmentScan is the way through one segment.
type segmentScan struct {
	in    *inspector
	start segmentStart
	next  *segmentStart // nil for the last segment
	name  string
	file  vfs.File
	size  int64
	end   int64 // offset at which the segment ends, −1: not known
	floor int64 // all data below this offset was synced
	at    point
	m     merge
	index *indexScan
}

func (in *inspector) inspectSegment(i int) error {
	s := segmentScan{in: in, start: in.state.segs[i], end: -1}
	s.name = s.start.name(logSuffix)
	f, err := in.fs.Open(in.path(s.name))
	if isNotExist(err) {
		return in.damage(s.name, -1, s.start.base, errors.New("missing"))
	}
	if err != nil {
		return err
	}
	defer f.Close()
	s.file = f
	if s.size, err = f.Size(); err != nil {
		return err
	}
	if i+1 < len(in.state.segs) {
		s.next = &in.state.segs[i+1]
		s.end, s.floor = s.next.base, s.next.base
	} else {
		s.floor = in.state.floor
		if in.state.begun != nil {
			s.end = in.state.begun.offset
		}
		if in.marked && in.mark.at.base == s.start.base {
			s.floor = max(s.floor, in.mark.at.offset)
		}
	}
	if s.index, err = in.openIndex(s.start); err != nil {
		return err
	}
	defer s.index.close()
	in.report.Segments++
	in.report.Bytes += s.size
	if err := in.emit(Item{File: f.Name(), Segment: &SegmentItem{
		BaseOffset: s.start.base, FirstIndex: s.start.firstIndex, Generation: s.start.gen, Bytes: s.size,
		Active: s.next == nil, Settled: in.state.isSettled(s.start.base),
	}}); err != nil {
		return err
	}
	return s.run()
}

// run walks through the batches.
func (s *segmentScan) run() error {
	buf := bodyBuffers.Get().(*[bodyWindow]byte)
	defer bodyBuffers.Put(buf)
	s.at = (&segment{segmentStart: s.start}).start()
	s.m = mergeFrom(s.in.state, s.at)
	r := newBatchReader(s.file, 0, s.size, buf[:])
	limit := uint64(math.MaxUint64)
	if s.next != nil {
		limit = s.next.firstIndex - 1
	}
	for {
		if err := s.in.ctx.Err(); err != nil {
			return err
		}
		err := s.m.passEntries(limit)
		if err := s.checkMark(); err != nil {
			return err
		}
		var h record.Header
		if err == nil && s.end >= 0 && s.m.offset >= s.end {
			break
		}
		if err == nil {
			h, err = r.header()
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = s.m.check(&h)
		}
		if violationOf(err) != nil {
			return s.broken(r.pos, err)
		}
		if err != nil {
			return err
		}
		if stop, err := s.batch(r, &h); stop || err != nil {
			return err
		}
	}
	return s.ended(r.pos)
}

// batch takes the batch at r; stop says that what follows is not to be read.
func (s *segmentScan) batch(r *batchReader, h *record.Header) (stop bool, err error) {
	in := s.in
	pos := r.pos
	if err := r.checkCRC(h); violationOf(err) != nil {
		if s.m.offset >= s.floor {
			return true, s.broken(pos, err)
		}
		if err := in.damage(s.name, pos, h.BaseOffset, err); err != nil {
			return true, err
		}
	} else if err != nil {
		return true, err
	}
	index := s.m.index + 1
	s.at.offset = h.BaseOffset
	if err := s.index.batch(s, h, pos, index); err != nil {
		return true, err
	}
	in.report.Batches++
	in.report.Records += int64(h.Records)
	if s.m.settled != nil {
		index = 0
	}
	if err := in.emit(batchItem(s.file.Name(), pos, index, h)); err != nil {
		return true, err
	}
	if err := s.records(pos, h); err != nil {
		return true, err
	}
	s.at.index = s.m.index
	s.m.pass(h)
	s.at.advance(h)
	r.skip(h)
	return false, nil
}

// records decodes a batch where that was asked for.
func (s *segmentScan) records(pos int64, h *record.Header) error {
	in := s.in
	if !in.opts.Records && !in.opts.CheckRecords {
		return nil
	}
	b := make([]byte, h.Bytes())
	if _, err := readFull(s.file, b, pos); err != nil {
		return err
	}
	if _, err := record.CheckRecords(b, record.Limits{}, record.Check{Compacted: true}); err != nil {
		return in.damage(s.name, pos, h.BaseOffset, err)
	}
	if !in.opts.Records {
		return nil
	}
	for rec, err := range record.Records(b, record.Limits{}) {
		if err != nil {
			return in.damage(s.name, pos, h.BaseOffset, err)
		}
		if err := in.emit(recordItem(s.file.Name(), pos, h, rec)); err != nil {
			return err
		}
	}
	return nil
}

// checkMark compares the mark with the place that was reached.
func (s *segmentScan) checkMark() error {
	in := s.in
	if !in.marked || in.seen || s.m.settled != nil || in.mark.at.base != s.start.base || s.at.pos < in.mark.at.pos {
		return nil
	}
	in.seen = true
	want := in.mark.at
	if s.at.pos != want.pos || s.m.offset != want.offset || s.m.index < want.index || in.state.termAt(want.index) != want.term {
		return in.damage(s.name, s.at.pos, s.m.offset, fmt.Errorf(
			"position %d is offset %d, entry %d; the mark says position %d, offset %d, entry %d of term %d",
			s.at.pos, s.m.offset, s.m.index, want.pos, want.offset, want.index, want.term))
	}
	return nil
}

// broken ends the scan where no batch can be made out.
func (s *segmentScan) broken(pos int64, cause error) error {
	s.note()
	if s.m.offset < s.floor || s.next != nil || len(s.m.entries) > 0 {
		s.in.seen = s.in.seen || s.in.mark.at.base == s.start.base // named here
		return s.in.damage(s.name, pos, s.m.offset, cause)
	}
	return s.in.leftOver(s.name, pos, s.m.offset, fmt.Errorf("torn tail of %d bytes: %w", s.size-pos, cause))
}

// ended looks at how the segment ends.
func (s *segmentScan) ended(pos int64) error {
	s.note()
	in := s.in
	switch {
	case s.m.holes && s.size != s.start.bytes:
		return in.damage(s.name, min(s.size, s.start.bytes), s.m.offset, fmt.Errorf("the file has %d bytes, compaction wrote %d", s.size, s.start.bytes))
	case s.m.holes && pos == s.size && s.m.offset <= s.end && s.m.sum != s.m.wantSum:
		return in.damage(s.name, -1, s.start.base, errWrongBatches)
	case s.m.settled != nil && pos == s.size && s.m.endsAt(*s.next):
		return s.index.ended(s)
	case s.m.offset < s.floor || s.end >= 0 && s.m.offset != s.end:
		in.seen = in.seen || in.mark.at.base == s.start.base
		return in.damage(s.name, pos, s.m.offset, fmt.Errorf("the segment ends here, it was synced up to offset %d", max(s.floor, s.end)))
	case s.next != nil && s.m.index != s.next.firstIndex-1:
		return in.damage(s.name, pos, s.m.offset, fmt.Errorf("the segment ends with entry %d, the next begins with %d", s.m.index, s.next.firstIndex))
	case s.next != nil && pos < s.size:
		return in.damage(s.name, pos, s.m.offset, fmt.Errorf("%d bytes follow the last batch", s.size-pos))
	case pos < s.size:
		return in.leftOver(s.name, pos, s.m.offset, fmt.Errorf("%d bytes are cut by the truncation", s.size-pos))
	case s.next == nil && len(s.m.entries) > 0:
		e := &s.m.entries[0]
		return in.damage(journalName, e.pos-recordFixedBytes, e.offset, fmt.Errorf("entry %d at offset %d, but the log ends with entry %d at offset %d",
			e.index, e.offset, s.m.index, s.m.offset))
	}
	return s.index.ended(s)
}

// note enters where the log ends so far.
func (s *segmentScan) note() {
	s.in.report.Last, s.in.report.EndOffset = s.m.index, s.m.offset
}
