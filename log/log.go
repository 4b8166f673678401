package log

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/protocol/record"
)

// Kind says what an entry holds.
type Kind uint8

const (
	// KindBatch is a record batch. It lives in a segment and takes offsets;
	// all other kinds, 1 to 127, live in the journal and take none.
	KindBatch Kind = 0

	maxKind Kind = 127
)

// Entry is an entry to append.
type Entry struct {
	Index uint64
	Term  uint64 // of a batch at most 2³¹−1: it is the leader epoch
	Kind  Kind
	Data  []byte // exactly one batch, or a payload of at most 16 MiB
}

// EntryInfo describes an entry of the log.
type EntryInfo struct {
	Index uint64
	Term  uint64
	Kind  Kind
	Data  []byte // the payload, the caller's own; nil for a batch

	Header   record.Header // of a batch
	OffsetAt int64         // a batch's base offset, or the offset at which a journal entry stands

	Segment  int64 // base offset of the segment that holds a batch
	Position int64 // bytes from that file's start
	Bytes    int   // of the batch or payload
}

// NextOffset is the log's end offset after this entry.
func (e *EntryInfo) NextOffset() int64 {
	if e.Kind == KindBatch {
		return e.Header.NextOffset()
	}
	return e.OffsetAt
}

// Limits govern rolling, indexing and deletion. They can change at run time.
type Limits struct {
	// SegmentBytes is the size that a segment does not grow beyond, unless by
	// its only batch (segment.bytes); zero means 1 GiB.
	SegmentBytes int64

	// SegmentMillis is how long a segment is appended to, counted from its
	// first batch's timestamp (segment.ms); zero means without limit.
	SegmentMillis int64

	// SegmentJitterMillis is the most by which SegmentMillis is shortened, by a
	// random part for each segment (segment.jitter.ms).
	SegmentJitterMillis int64

	// IndexIntervalBytes is how many bytes of batches go by between two index
	// entries (index.interval.bytes); zero means 4096.
	IndexIntervalBytes int32

	// FileDeleteDelay is how long the files of a dropped segment stay
	// (file.delete.delay.ms).
	FileDeleteDelay time.Duration
}

func (l Limits) withDefaults() Limits {
	if l.SegmentBytes <= 0 {
		l.SegmentBytes = 1 << 30
	}
	if l.IndexIntervalBytes <= 0 {
		l.IndexIntervalBytes = 4096
	}
	return l
}

// Syncer makes what was written to a file durable. SyncScheduler is one for
// all logs of a node.
type Syncer interface {
	Sync(f vfs.File) error
}

// Config says how to open a log.
type Config struct {
	FS     vfs.FS // nil means the operating system's
	Syncer Syncer // nil means that each log syncs its files by itself
	Limits Limits

	// First is where a log begins that Open creates; zero means entry 1 at
	// offset 0.
	First Start

	Now    func() time.Time // nil means time.Now
	Logger *slog.Logger     // nil discards

	// journalSlack is how many dead bytes a journal may hold at least; zero
	// means 64 KiB.
	journalSlack int64

	// indexFlush is how many bytes of index entries are gathered; zero means
	// indexFlushBytes.
	indexFlush int
}

// Start is where a log begins.
type Start struct {
	Index      uint64 // of the first entry
	TermBefore uint64 // of the entry before it
	Offset     int64  // of the first batch
}

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = vfs.OS
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.journalSlack == 0 {
		c.journalSlack = 64 << 10
	}
	if c.indexFlush == 0 {
		c.indexFlush = indexFlushBytes
	}
	c.First.Index = max(c.First.Index, 1)
	c.Limits = c.Limits.withDefaults()
	return c
}

// Log is the log of one partition replica. All methods may be called from any
// goroutine; Append*, Truncate, DropBefore, Settle and Roll wait for each other.
//
// Lock order: writeMu, syncMu, markMu, mu.
type Log struct {
	dir string
	cfg Config
	fs  vfs.FS

	// writeMu is held by whoever changes what the log holds.
	writeMu sync.Mutex
	scratch *scratch // guarded by writeMu, nil between appends

	// syncMu is held while a file of the log is synced or taken away.
	syncMu sync.Mutex

	scheduler    *SyncScheduler // cfg.Syncer, if it is one
	announcement announcement   // to it: that Sync will be called
	announced    atomic.Bool    // about what announcement.made is, without a lock

	// markMu is held while the mark is written.
	markMu sync.Mutex
	mark   markWriter

	deletions  deletions
	compaction compactionSlot

	// mu guards what readers see. It is never held during I/O.
	mu struct {
		sync.Mutex
		limits  Limits
		state   *journalState // its floor and begun are the writer's
		segs    []*segment    // parallel to state.segs; the first state.settled have no entries; replaced, not changed
		end     point         // of what is written
		durable point

		journal       *journalFile
		journalSize   int64 // written
		journalSynced int64
		journalDirty  bool // entries were written since the last sync

		recent  recentPlaces
		cursors cursors
		rolls   uint64
		cuts    uint64 // truncations and replacements so far: a reader that saw another number may have read what is gone
		failed  error
		closed  bool
	}
}

// Open opens the log in dir, creating it, durably, where it is missing, and
// recovers it as the package comment says. Damage in what was durable is a
// *CorruptionError.
func Open(ctx context.Context, dir string, cfg Config) (*Log, error) {
	cfg = cfg.withDefaults()
	l := &Log{dir: dir, cfg: cfg, fs: cfg.FS}
	l.scheduler, _ = cfg.Syncer.(*SyncScheduler)
	l.mu.limits = cfg.Limits
	r := recovery{ctx: ctx, l: l, fs: cfg.FS, dir: dir}
	if err := r.run(); err != nil {
		r.closeFiles()
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	return l, nil
}

// SetLimits changes the limits; they hold from the next call on.
func (l *Log) SetLimits(limits Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.limits = limits.withDefaults()
}

// First is the index of the log's first entry, or of the one to come where the
// log is empty. Batches before it may still be read by offset (Settle).
func (l *Log) First() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.state.firstEntries().firstIndex
}

// Last is index and term of the log's last entry. Of an empty log they are
// those of the entry before its first: 0 and 0 where there never was one.
func (l *Log) Last() (index, term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.end.index, l.mu.end.term
}

// StartOffset is the first offset on disk.
func (l *Log) StartOffset() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.segs[0].base
}

// EndOffset is the offset of the next record to be appended.
func (l *Log) EndOffset() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.end.offset
}

// Durable is the last entry that is on disk for good, and the end offset
// then. It is answered after Close and Abort too.
func (l *Log) Durable() (index uint64, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.durable.index, l.mu.durable.offset
}

// Rolls counts the segments begun since Open.
func (l *Log) Rolls() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.rolls
}

// Size is the size of all segments and the journal in bytes.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.mu.journalSize
	for _, s := range l.mu.segs {
		n += s.size
	}
	return n
}

// TermStarts are the first entries of the terms that the log holds, in order.
// The term before the first of them, if the log holds entries of it, is that of
// the entry before First.
func (l *Log) TermStarts() (before uint64, starts []TermStart) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.mu.state.firstEntries()
	for _, t := range l.mu.state.terms {
		if t.Index >= first.firstIndex {
			starts = append(starts, t.TermStart)
		}
	}
	return first.termBefore, starts
}

// SegmentInfo describes a segment.
type SegmentInfo struct {
	BaseOffset     int64
	EndOffset      int64
	FirstIndex     uint64 // its entries, where it has any, have this index or a higher one
	Bytes          int64
	FirstTimestamp int64 // of its first batch, milliseconds, −1: none
	MaxTimestamp   int64 // milliseconds, −1: none
	Active         bool  // appended to
	Settled        bool  // without entries: its batches are read by offset alone
	Generation     uint64
	Modified       time.Time
}

// Segments describes the segments, oldest first.
func (l *Log) Segments() []SegmentInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	infos := make([]SegmentInfo, len(l.mu.segs))
	for i, s := range l.mu.segs {
		infos[i] = SegmentInfo{
			BaseOffset: s.base, EndOffset: s.endOffset, FirstIndex: s.firstIndex, Bytes: s.size,
			FirstTimestamp: s.firstTime, MaxTimestamp: s.maxTime, Active: i == len(l.mu.segs)-1, Modified: s.modified,
			Settled: i < l.mu.state.settled, Generation: s.gen,
		}
	}
	return infos
}

// Failed is the *FailedError that ended writing, or nil.
func (l *Log) Failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.failed
}

// usable says why the log cannot be written, or nil. The caller holds mu.
func (l *Log) usable() error {
	if l.mu.closed {
		return ErrClosed
	}
	return l.mu.failed
}

// writable is usable for one who does not hold mu.
func (l *Log) writable() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.usable()
}

// fail makes the log read-only: err came up in doing what.
func (l *Log) fail(what string, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.failed == nil {
		l.mu.failed = &FailedError{Cause: fmt.Errorf("%s: %w", what, err)}
		l.cfg.Logger.Error("log failed and is read-only", "dir", l.dir, "doing", what, "error", err)
	}
	return l.mu.failed
}

// active is the segment that is appended to. The caller holds mu or writeMu.
func (l *Log) active() *segment { return l.mu.segs[len(l.mu.segs)-1] }

// Close makes everything durable, notes a clean stop and closes the files;
// Ranges stay readable until they are released. Of a failed log it returns the
// failure and writes nothing.
func (l *Log) Close() error {
	l.StopCompaction()
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := l.writable(); err != nil {
		return l.shut(err)
	}
	return l.shut(l.stopCleanly())
}

// stopCleanly syncs everything and writes a clean mark.
func (l *Log) stopCleanly() error {
	if err := l.syncLocked(); err != nil {
		return err
	}
	l.markMu.Lock()
	defer l.markMu.Unlock()
	m := l.durableMark()
	if l.mark.last.clean && l.mark.says(m) {
		return nil
	}
	idx := &l.active().idx
	if err := l.flushIndex(idx, false); err != nil {
		return err
	}
	if err := idx.file.Sync(); err != nil {
		return l.fail("sync index", err)
	}
	m.clean = true
	if err := l.mark.write(m); err != nil {
		return l.fail("stop cleanly", err)
	}
	if err := l.mark.file.Sync(); err != nil {
		return l.fail("stop cleanly", err)
	}
	return nil
}

// Abort closes the files and writes nothing: for failed replicas, and for
// tests of what a crash leaves.
func (l *Log) Abort() error {
	l.StopCompaction()
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	return l.shut(nil)
}

// shut closes the files, once, and joins what was started. The caller holds
// writeMu and syncMu.
func (l *Log) shut(err error) error {
	l.RetractSync()
	l.markMu.Lock()
	l.mu.Lock()
	if l.mu.closed {
		l.mu.Unlock()
		l.markMu.Unlock()
		return ErrClosed
	}
	l.mu.closed = true
	segs, journal := l.mu.segs, l.mu.journal
	l.mu.Unlock()
	closeErr := l.mark.file.Close()
	l.markMu.Unlock()
	for _, s := range segs {
		closeErr = errors.Join(closeErr, s.release())
	}
	closeErr = errors.Join(closeErr, journal.release())
	l.deletions.stop()
	if err != nil {
		return err
	}
	if closeErr != nil {
		return fmt.Errorf("close log: %w", closeErr)
	}
	return nil
}

// WriteMark writes the durable mark, not synced, if it moved since it was
// written last: the owner calls it about once a second.
func (l *Log) WriteMark() error {
	l.markMu.Lock()
	defer l.markMu.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	m := l.durableMark()
	if l.mark.says(m) {
		return nil
	}
	if err := l.mark.write(m); err != nil {
		return l.fail("write mark", err)
	}
	return nil
}

// durableMark is the mark of what is durable now. The caller holds markMu.
func (l *Log) durableMark() mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return mark{
		at: l.mu.durable, generation: l.mu.state.header.generation, journalBytes: l.mu.journalSynced,
	}
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
