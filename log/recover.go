package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fanfold/fanfold/internal/vfs"
)

// recovery opens a log: the numbered steps of the package comment.
type recovery struct {
	ctx context.Context
	l   *Log
	fs  vfs.FS
	dir string

	names  []string
	mark   mark
	marked bool // there is a usable mark

	journal      vfs.File
	journalKnown int64 // bytes of it that are known to be synced
	journalSize  int64
	state        *journalState

	segs    []*segment
	end     point
	unclean bool // something is to be made durable
}

func (r *recovery) path(name string) string { return filepath.Join(r.dir, name) }

func (r *recovery) damaged(name string, format string, args ...any) error {
	return &CorruptionError{File: r.path(name), Pos: -1, Offset: -1, Cause: fmt.Errorf(format, args...)}
}

func (r *recovery) run() error {
	steps := []func() error{
		r.clearLeftOvers,   // 1
		r.readMark,         // 2
		r.readJournal,      // 3
		r.finishTruncation, // 4
		r.removeDropped,    // 5
		r.openSealed,       // 6
		r.openActive,       // 7
		r.makeDurable,      // 8
	}
	for _, step := range steps {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
	}
	l := r.l
	l.mu.state, l.mu.segs = r.state, r.segs
	l.mu.end, l.mu.durable = r.end, r.end
	l.mu.journal = newJournalFile(r.journal)
	l.mu.journalSize, l.mu.journalSynced = r.journalSize, r.journalSize
	l.mu.recent.restart(l.active().base)
	return nil
}

// closeFiles closes what a failed recovery opened.
func (r *recovery) closeFiles() {
	for _, s := range r.segs {
		_ = s.release()
	}
	for _, f := range []vfs.File{r.journal, r.l.mark.file} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// clearLeftOvers makes the directory if it is missing, lists it and removes
// what drops, rewrites and rebuilds left.
func (r *recovery) clearLeftOvers() error {
	if err := makeDir(r.fs, r.dir); err != nil {
		return err
	}
	names, err := r.fs.List(r.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, deletedSuffix) && !strings.HasSuffix(name, tmpSuffix) {
			r.names = append(r.names, name)
			continue
		}
		if err := r.fs.Remove(r.path(name)); err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes a directory and its missing parents, durably.
func makeDir(fsys vfs.FS, dir string) error {
	var made []string // parents that gain a name, deepest first
	for d := filepath.Clean(dir); ; {
		_, err := fsys.Stat(d)
		if err == nil {
			break
		}
		parent := filepath.Dir(d)
		if !isNotExist(err) || parent == d {
			return err
		}
		made = append(made, parent)
		d = parent
	}
	if len(made) == 0 {
		return nil
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	for _, parent := range slices.Backward(made) {
		if err := fsys.SyncDir(parent); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) readMark() error {
	f, err := openMark(r.fs, r.dir)
	if err != nil {
		return err
	}
	r.l.mark.file = f
	m, ok, problems, err := readMark(f)
	if err != nil {
		return err
	}
	if !ok {
		r.unclean = true
		r.l.cfg.Logger.Info("no usable durable mark: the last segment is read as a whole", "dir", r.dir, "cause", problems[0])
	}
	r.mark, r.marked = m, ok
	r.l.mark.last = m
	return nil
}

// readJournal replays the journal and cuts its torn tail, or creates it.
func (r *recovery) readJournal() error {
	if !slices.Contains(r.names, journalName) {
		if err := r.create(); err != nil {
			return err
		}
	}
	f, err := r.fs.OpenReadWrite(r.path(journalName))
	if err != nil {
		return err
	}
	r.journal = f
	state, size, damage, err := replayJournal(f)
	if err != nil {
		return corruptIf(err, f.Name(), 0, -1)
	}
	r.state = state
	r.journalKnown = state.header.bytes
	if r.marked {
		switch {
		case r.mark.generation == state.header.generation:
			r.journalKnown = max(r.journalKnown, r.mark.journalBytes)
		case r.mark.generation > state.header.generation:
			return r.damaged(journalName, "generation %d, the mark knows of %d", state.header.generation, r.mark.generation)
		}
	}
	r.journalSize = size
	have, err := f.Size()
	if err != nil {
		return err
	}
	if size < r.journalKnown {
		if damage == nil {
			damage = fmt.Errorf("the journal ends here, %d bytes were synced", r.journalKnown)
		}
		return &CorruptionError{File: f.Name(), Pos: size, Offset: -1, Cause: damage}
	}
	if have != size {
		r.l.cfg.Logger.Info("torn tail of the journal is cut", "file", f.Name(), "position", size, "bytes", have-size, "cause", damage)
		if err := f.Truncate(size); err != nil {
			return err
		}
	} else if size == r.journalKnown && r.marked && r.mark.generation == state.header.generation {
		return nil
	}
	// What the journal says is acted on from here: it is made durable first.
	r.unclean = true
	if err := r.rewrite(f, r.journalKnown, size); err != nil {
		return err
	}
	return f.Sync()
}

// replayJournal reads a journal as far as it is good. size is how far; damage
// says what stands there if it is not the end. A header that is wrong is a
// violation, records that contradict each other are a *CorruptionError.
func replayJournal(f vfs.File) (state *journalState, size int64, damage, err error) {
	jr := journalReader{file: f}
	h, err := jr.open()
	if err != nil {
		return nil, 0, nil, err
	}
	state = newJournalState(h)
	for {
		pos := jr.pos
		rec, err := jr.next()
		if errors.Is(err, io.EOF) {
			return state, pos, nil, nil
		}
		if cause := violationOf(err); cause != nil {
			return state, pos, cause, nil
		}
		if err != nil {
			return nil, 0, nil, err
		}
		if err := state.apply(&rec, pos); err != nil {
			return nil, 0, nil, corruptIf(err, f.Name(), pos, rec.offset)
		}
	}
}

// create makes the files of a new log. The journal comes last: without it there
// is no log.
func (r *recovery) create() error {
	if r.marked {
		return r.damaged(journalName, "missing")
	}
	for _, name := range r.names {
		if _, ok := parseName(name, logSuffix); !ok {
			continue
		}
		if info, err := r.fs.Stat(r.path(name)); err != nil {
			return err
		} else if info.Size() > 0 {
			return r.damaged(journalName, "missing")
		}
	}
	first := r.l.cfg.First
	start := segmentStart{base: first.Offset, firstIndex: first.Index, termBefore: first.TermBefore}
	if err := r.removeSegmentFiles(func(segmentStart) bool { return true }); err != nil {
		return err
	}
	seg, err := createSegment(r.fs, r.dir, start, r.l.cfg.Now())
	if err != nil {
		return err
	}
	if err := seg.release(); err != nil {
		return err
	}
	if err := r.fs.SyncDir(r.dir); err != nil {
		return err
	}
	h := journalHeader{generation: 1, first: start, bytes: journalHeaderBytes}
	if err := vfs.WriteFileAtomic(r.fs, r.dir, r.path(journalName), h.append(nil)); err != nil {
		return err
	}
	r.names = []string{segmentName(start.base, indexSuffix), segmentName(start.base, logSuffix), journalName, markName}
	r.unclean = true
	return nil
}

// removeSegmentFiles removes the files of the segments that which picks by base
// offset and generation, the newest first, and forgets their names.
func (r *recovery) removeSegmentFiles(which func(file segmentStart) bool) error {
	var kept []string
	for _, name := range slices.Backward(r.names) {
		file, ok := parseName(name, logSuffix)
		if !ok {
			file, ok = parseName(name, indexSuffix)
		}
		if !ok || !which(file) {
			kept = append(kept, name)
			continue
		}
		r.unclean = true
		if err := r.fs.Remove(r.path(name)); err != nil && !isNotExist(err) {
			return err
		}
	}
	slices.Reverse(kept)
	r.names = kept
	return nil
}

// finishTruncation does again what a truncation does behind its begin record.
func (r *recovery) finishTruncation() error {
	begun := r.state.begun
	if begun == nil {
		return nil
	}
	r.unclean = true
	last := r.state.segs[len(r.state.segs)-1]
	if err := r.removeSegmentFiles(func(file segmentStart) bool { return file.base > last.base }); err != nil {
		return err
	}
	pos, err := r.cutSegment(last, begun.offset)
	if err != nil {
		return err
	}
	if err := r.fs.SyncDir(r.dir); err != nil {
		return err
	}
	r.l.cfg.Logger.Info("truncation is finished", "dir", r.dir, "entry", begun.index, "offset", begun.offset, "position", pos)
	done := *begun
	done.typ = recordTruncateDone
	if _, err := r.journal.WriteAt(done.append(nil), r.journalSize); err != nil {
		return err
	}
	if err := r.journal.Sync(); err != nil {
		return err
	}
	r.journalSize += done.bytes()
	r.state.begun = nil
	return nil
}

// cutSegment cuts the segment at offset, durably, and removes its index, which
// is then built anew.
func (r *recovery) cutSegment(start segmentStart, offset int64) (int64, error) {
	path := r.path(start.name(logSuffix))
	f, err := r.fs.OpenReadWrite(path)
	if err != nil {
		return 0, r.missing(err, path)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	var buf [headerWindow]byte
	br := newBatchReader(f, 0, size, buf[:])
	at := start.base
	for at < offset {
		h, err := br.header()
		if errors.Is(err, io.EOF) {
			err = violation("segment ends at offset %d, a truncation to offset %d was begun", at, offset)
		}
		if err == nil && (h.BaseOffset != at || h.NextOffset() > offset) {
			err = violation("batch at offset %d to %d, expected offset %d and a boundary at %d", h.BaseOffset, h.LastOffset(), at, offset)
		}
		if err != nil {
			return 0, corruptIf(err, path, br.pos, at)
		}
		at = h.NextOffset()
		br.skip(&h)
	}
	if err := f.Truncate(br.pos); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	if err := r.fs.Remove(indexPath(path)); err != nil && !isNotExist(err) {
		return 0, err
	}
	return br.pos, nil
}

// missing makes damage of a file that is not there.
func (r *recovery) missing(err error, path string) error {
	if isNotExist(err) {
		return &CorruptionError{File: path, Pos: -1, Offset: -1, Cause: errors.New("missing")}
	}
	return err
}

// removeDropped removes the segments below the log's start, what compactions
// left, and files of a segment that was not begun in the journal: no batch was
// written into it.
func (r *recovery) removeDropped() error {
	for _, name := range r.names {
		file, ok := parseName(name, logSuffix)
		if !ok || r.state.knows(file) || r.state.isLeftOver(file) {
			continue
		}
		info, err := r.fs.Stat(r.path(name))
		if err != nil {
			return err
		}
		if info.Size() > 0 {
			return r.damaged(name, "segment of %d bytes that the journal does not know", info.Size())
		}
	}
	return r.removeSegmentFiles(func(file segmentStart) bool { return !r.state.knows(file) })
}

// openSegment opens the files of a segment; fresh says that its index is new.
func (r *recovery) openSegment(start segmentStart) (seg *segment, fresh bool, err error) {
	path := r.path(start.name(logSuffix))
	f, err := r.fs.OpenReadWrite(path)
	if err != nil {
		return nil, false, r.missing(err, path)
	}
	seg = &segment{segmentStart: start, path: path, file: f, created: r.l.cfg.Now(), jitter: rand.Float64(), firstTime: -1}
	seg.refs.Store(1)
	seg.idx.base = start.base
	r.segs = append(r.segs, seg)
	if seg.size, err = f.Size(); err != nil {
		return nil, false, err
	}
	info, err := r.fs.Stat(path)
	if err != nil {
		return nil, false, err
	}
	if seg.modified = info.ModTime(); start.gen > 0 {
		seg.modified = time.UnixMilli(start.modified)
	}
	seg.idx.file, err = r.fs.OpenReadWrite(indexPath(path))
	if isNotExist(err) {
		fresh, r.unclean = true, true
		seg.idx.file, err = r.fs.Create(indexPath(path))
	}
	return seg, fresh, err
}

// rewrite writes what stands in f from a position to another once more. A sync
// that failed earlier may have left pages that read well, count as clean, and
// are not on disk: only what is written again is written by the next sync.
func (r *recovery) rewrite(f vfs.File, from, to int64) error {
	if from >= to {
		return nil
	}
	buf := bodyBuffers.Get().(*[bodyWindow]byte)
	defer bodyBuffers.Put(buf)
	for from < to {
		b := buf[:min(to-from, bodyWindow)]
		if _, err := readFull(f, b, from); err != nil {
			return fmt.Errorf("read tail: %w", err)
		}
		if _, err := f.WriteAt(b, from); err != nil {
			return fmt.Errorf("write tail: %w", err)
		}
		from += int64(len(b))
	}
	return nil
}

// makeDurable makes durable what was found, unless all of it was at a clean
// stop.
func (r *recovery) makeDurable() error {
	if !r.unclean {
		return nil
	}
	seg := r.segs[len(r.segs)-1]
	from := int64(0)
	if r.marked && r.mark.at.base == seg.base {
		from = r.mark.at.pos
	}
	if err := r.rewrite(seg.file, from, r.end.pos); err != nil {
		return err
	}
	for _, f := range []vfs.File{seg.file, seg.idx.file} {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := r.fs.SyncDir(r.dir); err != nil {
		return err
	}
	return r.l.mark.writeBoth(mark{at: r.end, generation: r.state.header.generation, journalBytes: r.journalSize})
}
