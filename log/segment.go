package log

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/internal/vfs"
)

const (
	logSuffix     = ".log"
	indexSuffix   = ".index"
	deletedSuffix = ".deleted"
	tmpSuffix     = ".tmp"
	journalName   = "journal"
	markName      = "mark"

	// nameDigits is the length of a segment's name before its suffix.
	nameDigits = 20

	// maxRelative bounds positions, offsets and indexes relative to a
	// segment's start.
	maxRelative = 1<<31 - 1
)

func segmentName(base int64, suffix string) string {
	return fmt.Sprintf("%0*d%s", nameDigits, base, suffix)
}

// parseName reads a segment file's base offset and generation.
func parseName(name, suffix string) (s segmentStart, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return s, false
	}
	digits, gen, compacted := strings.Cut(digits, "-")
	var err error
	if s.base, err = strconv.ParseInt(digits, 10, 64); err != nil || s.base < 0 {
		return s, false
	}
	if compacted {
		if s.gen, err = strconv.ParseUint(gen, 10, 64); err != nil || s.gen == 0 {
			return s, false
		}
	}
	return s, s.name(suffix) == name
}

// segmentStart is what the journal knows of a segment.
type segmentStart struct {
	base       int64  // offset of its first batch, or of one that compaction removed
	firstIndex uint64 // its batches and the journal entries between have this index or a higher one
	termBefore uint64 // of entry firstIndex − 1

	compacted
}

// compacted is what the journal knows of a segment's file besides where one
// has it that compaction wrote.
type compacted struct {
	gen      uint64 // how often it was written; 0 is as it was appended to, and all else is 0
	modified int64  // when its newest part was, milliseconds
	bytes    int64
	sum      uint32 // of its batches, as headSum counts
}

// name is that of the segment's files.
func (s segmentStart) name(suffix string) string {
	if s.gen == 0 {
		return segmentName(s.base, suffix)
	}
	return fmt.Sprintf("%0*d-%d%s", nameDigits, s.base, s.gen, suffix)
}

// startsAt compares where the segment starts.
func (s segmentStart) startsAt(base int64, firstIndex, termBefore uint64) bool {
	return s.base == base && s.firstIndex == firstIndex && s.termBefore == termBefore
}

// holes says whether there may be offsets between the segment's batches that
// none of them holds.
func (s segmentStart) holes() bool { return s.gen > 0 }

// segment is one file of batches and its index. All segments but the last are
// sealed: full and synced.
type segment struct {
	segmentStart
	path string
	file vfs.File
	idx  index

	// refs counts the log's list and every reader; the files close at zero.
	refs atomic.Int32

	created time.Time // or opened
	jitter  float64   // of SegmentJitterMillis, 0 to 1

	// Guarded by Log.mu.
	size          int64
	endOffset     int64
	firstTime     int64 // of the first batch, −1 where there is none
	maxTime       int64 // −1 where there is none
	maxTimeOffset int64 // base offset of the first batch that has it
	modified      time.Time
}

// acquire takes a reference. The caller holds Log.mu, and so the list's one.
func (s *segment) acquire() { s.refs.Add(1) }

// release gives a reference back.
func (s *segment) release() error {
	if s.refs.Add(-1) > 0 {
		return nil
	}
	err := s.file.Close()
	if s.idx.file != nil {
		err = errors.Join(err, s.idx.file.Close())
	}
	return err
}

// start is the place before the segment's first batch.
func (s *segment) start() point {
	return point{
		base: s.base, offset: s.base, index: s.firstIndex - 1, term: s.termBefore,
		maxTime: -1, maxTimeOffset: s.base,
	}
}

// createSegment makes the empty files of a segment. They are durable after
// SyncDir.
func createSegment(fsys vfs.FS, dir string, start segmentStart, now time.Time) (*segment, error) {
	s := &segment{
		segmentStart: start, path: filepath.Join(dir, start.name(logSuffix)),
		created: now, modified: now, endOffset: start.base, firstTime: -1, maxTime: -1, maxTimeOffset: start.base,
	}
	s.refs.Store(1)
	s.idx.base = start.base
	var err error
	if s.file, err = fsys.Create(s.path); err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	if s.idx.file, err = fsys.Create(indexPath(s.path)); err != nil {
		s.file.Close()
		return nil, fmt.Errorf("create index: %w", err)
	}
	return s, nil
}

func indexPath(logPath string) string { return strings.TrimSuffix(logPath, logSuffix) + indexSuffix }

// point is a place between two entries.
type point struct {
	base   int64  // of the segment that holds the place
	pos    int64  // bytes of batches before it in that segment
	offset int64  // of the next batch
	index  uint64 // of the entry before it
	term   uint64 // of the entry before it

	// Largest timestamp of the segment's batches before it, −1 where there is
	// none, and the base offset of the first batch that has it.
	maxTime       int64
	maxTimeOffset int64
}

// note takes account of a batch's timestamp.
func (p *point) note(ts, baseOffset int64) {
	if ts > p.maxTime {
		p.maxTime, p.maxTimeOffset = ts, baseOffset
	}
}

// entryAt is the index entry of the batch that begins at p and has that epoch.
func (s *segment) entryAt(p *point, nextIndex uint64, epoch int32) (indexEntry, bool) {
	offset, ok1 := relative(p.offset, s.base)
	pos, ok2 := relative(p.pos, 0)
	idx, ok3 := relative(nextIndex, s.firstIndex)
	timeOffset, ok4 := relative(p.maxTimeOffset, s.base)
	return indexEntry{
		offset: offset, pos: pos, index: idx, epoch: epoch, maxTime: p.maxTime, maxTimeOffset: timeOffset,
	}, ok1 && ok2 && ok3 && ok4
}
