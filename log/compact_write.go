package log

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/fanfold/fanfold/protocol/record"
)

// syncEvery is after how many bytes a compaction syncs what it writes, so that
// its last sync does not hold up those of others.
const syncEvery = 4 << 20

// rewrite replaces n segments from i on by one with what is to stay of them. A
// single segment in which nothing changes is left alone.
func (c *compactor) rewrite(i, n int) error {
	old := c.segs[i : i+n]
	w := segmentWriter{c: c, old: old, behind: c.startAfter(i + n - 1)}
	defer w.release()
	if n > 1 {
		if err := w.begin(); err != nil {
			return err
		}
	}
	for _, seg := range old {
		if err := c.rewriteSegment(&w, seg); err != nil {
			return errors.Join(err, w.remove())
		}
	}
	if w.seg == nil {
		return nil
	}
	if err := w.finish(); err != nil {
		return errors.Join(err, w.remove())
	}
	err := c.l.replace(old, w.seg)
	if errors.Is(err, errReplaced) {
		return errors.Join(err, w.remove())
	}
	if err != nil {
		// What the journal says now the next recovery finds out: until then the
		// files stay.
		return err
	}
	c.stats.Segments += n
	c.stats.Into++
	return nil
}

// rewriteSegment gives w what is to stay of one segment.
func (c *compactor) rewriteSegment(w *segmentWriter, seg *segment) error {
	pos := int64(0)
	return c.walk(seg, func(h *record.Header, b []byte) error {
		at := pos
		pos += int64(h.Bytes())
		out, keep, err := c.verdict(h, b)
		if err != nil {
			return fmt.Errorf("batch at offset %d: %w", h.BaseOffset, err)
		}
		if w.seg == nil {
			if keep && len(out) == len(b) && &out[0] == &b[0] {
				return nil // all as it was so far
			}
			if err := w.begin(); err != nil {
				return err
			}
			if err := w.copyBatches(seg, at); err != nil {
				return err
			}
		}
		if !keep {
			return nil
		}
		return w.append(out)
	})
}

// segmentWriter writes a compacted segment and its index.
type segmentWriter struct {
	c      *compactor
	old    []*segment
	behind segmentStart
	seg    *segment // nil before begin

	at       point  // behind the batches taken
	buf      []byte // those that are not in the file yet
	written  int64  // bytes of the file
	unsynced int64  // of them
	interval int64
}

// begin creates the files.
func (w *segmentWriter) begin() error {
	l := w.c.l
	start := w.old[0].segmentStart
	start.compacted = compacted{}
	for _, s := range w.old {
		start.gen = max(start.gen, s.gen+1)
	}
	path := filepath.Join(l.dir, start.name(logSuffix))
	for _, left := range []string{path, indexPath(path)} { // by an attempt that could not remove it
		if err := l.fs.Remove(left); err != nil && !isNotExist(err) {
			return err
		}
	}
	seg, err := createSegment(l.fs, l.dir, start, l.cfg.Now())
	if err != nil {
		return errors.Join(err, w.removeFiles(path))
	}
	l.mu.Lock()
	seg.modified = newestOf(w.old)
	w.interval = int64(l.mu.limits.IndexIntervalBytes)
	l.mu.Unlock()
	w.seg, w.at = seg, seg.start()
	w.buf = make([]byte, 0, w.c.opts.BufferBytes)
	return nil
}

// append takes one batch.
func (w *segmentWriter) append(b []byte) error {
	h, err := record.ParseHeader(b)
	if err != nil {
		return err
	}
	if w.at.pos+int64(len(b)) > maxRelative {
		return fmt.Errorf("segment %d grows beyond %d bytes", w.seg.base, maxRelative)
	}
	if err := w.c.opts.Pace(w.c.ctx, len(b)); err != nil {
		return err
	}
	w.at.offset = h.BaseOffset
	w.seg.index(&w.at, w.at.index+1, &h, w.interval)
	if w.at.pos == 0 {
		w.seg.firstTime = batchTime(&h)
	}
	w.at.advance(&h)
	w.seg.sum = headSum(w.seg.sum, &h)
	if len(w.buf)+len(b) > cap(w.buf) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(b) > cap(w.buf) {
		return w.write(b)
	}
	w.buf = append(w.buf, b...)
	return nil
}

// flush writes what is gathered.
func (w *segmentWriter) flush() error {
	if len(w.buf) > 0 {
		if err := w.write(w.buf); err != nil {
			return err
		}
		w.buf = w.buf[:0]
	}
	if len(w.seg.idx.pending) < w.c.l.cfg.indexFlush {
		return nil
	}
	return w.flushIndex(true)
}

func (w *segmentWriter) flushIndex(keep bool) error {
	if err := w.seg.idx.write(); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	w.seg.idx.flushDone(keep)
	return nil
}

func (w *segmentWriter) write(b []byte) error {
	n, err := w.seg.file.WriteAt(b, w.written)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write compacted segment: %w", err)
	}
	w.written += int64(n)
	w.c.stats.WrittenBytes += int64(n)
	if w.unsynced += int64(len(b)); w.unsynced >= syncEvery {
		w.unsynced = 0
		if err := w.seg.file.Sync(); err != nil {
			return fmt.Errorf("sync compacted segment: %w", err)
		}
	}
	return nil
}

// copyBatches takes the batches of seg below pos as they are. They were read
// and found good.
func (w *segmentWriter) copyBatches(seg *segment, pos int64) error {
	r := newBatchReader(seg.file, 0, pos, make([]byte, len(w.c.window)))
	var large []byte
	for r.pos < pos {
		h, err := r.header()
		if err != nil {
			return corruptIf(err, seg.path, r.pos, -1)
		}
		var b []byte
		if h.Bytes() <= len(r.win) {
			b, err = r.load(r.pos, h.Bytes())
		} else {
			large = make([]byte, h.Bytes())
			b = large
			_, err = readFull(r.file, b, r.pos)
		}
		if err != nil {
			return corruptIf(err, seg.path, r.pos, h.BaseOffset)
		}
		if err := record.CheckCRC(b); err != nil {
			return &CorruptionError{File: seg.path, Pos: r.pos, Offset: h.BaseOffset, Cause: err}
		}
		if err := w.append(b); err != nil {
			return err
		}
		r.skip(&h)
	}
	return nil
}

// finish ends the segment, durably.
func (w *segmentWriter) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	seg := w.seg
	seg.size, seg.endOffset = w.at.pos, w.behind.base
	seg.maxTime, seg.maxTimeOffset = w.at.maxTime, w.at.maxTimeOffset
	seg.bytes = w.at.pos
	seg.compacted.modified = seg.modifiedMillis()
	w.at.offset = w.behind.base
	footer, ok := seg.entryAt(&w.at, w.behind.firstIndex, footerEpoch)
	if !ok {
		return fmt.Errorf("segment %d reaches from offset %d to %d", seg.base, seg.base, w.behind.base)
	}
	seg.idx.add(footer)
	if err := w.flushIndex(false); err != nil {
		return err
	}
	for _, f := range []interface{ Sync() error }{seg.file, seg.idx.file} {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("sync compacted segment: %w", err)
		}
	}
	if err := w.c.l.fs.SyncDir(w.c.l.dir); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// release gives up the writer's hold on the files.
func (w *segmentWriter) release() {
	if w.seg != nil {
		_ = w.seg.release() // all that counts was synced
	}
}

// remove removes the files of a segment that does not become part of the log.
func (w *segmentWriter) remove() error {
	if w.seg == nil {
		return nil
	}
	return w.removeFiles(w.seg.path)
}

func (w *segmentWriter) removeFiles(path string) error {
	for _, name := range []string{indexPath(path), path} {
		if err := w.c.l.fs.Remove(name); err != nil && !isNotExist(err) {
			return fmt.Errorf("remove compacted segment: %w", err)
		}
	}
	return nil
}

// modifiedMillis is the time of the segment's newest part.
func (s *segment) modifiedMillis() int64 {
	return max(0, s.modified.Sub(time.UnixMilli(0)).Milliseconds())
}
