package log

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// DropBefore removes the sealed segments that end at or below offset, and says
// how many bytes they were. The caller has made sure that nobody needs their
// entries any more. First and StartOffset move durably before any file goes;
// the files stay under another name for FileDeleteDelay, and readers that have
// them open are served until they are done.
func (l *Log) DropBefore(offset int64) (bytes int64, err error) {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if err := l.writable(); err != nil {
		return 0, err
	}
	n := 0
	for n+1 < len(l.mu.segs) && l.mu.segs[n+1].base <= offset {
		n++
	}
	if n == 0 {
		return 0, nil
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := l.syncLocked(); err != nil {
		return 0, err
	}
	first := l.mu.segs[n].segmentStart
	rec := journalRecord{typ: recordFirst, index: first.firstIndex, term: first.termBefore, offset: first.base}
	if err := l.record(&rec); err != nil {
		return 0, err
	}
	l.mu.Lock()
	gone := l.mu.segs[:n]
	l.mu.segs = l.mu.segs[n:]
	l.mu.state.dropSegments(n)
	l.mu.cursors.clear()
	delay := l.mu.limits.FileDeleteDelay
	for _, s := range gone {
		bytes += s.size
	}
	l.mu.Unlock()
	if err := l.retire(gone, delay); err != nil {
		return bytes, l.fail("drop segments", err)
	}
	return bytes, l.compactJournal()
}

// retire renames the files of segments, oldest first, and removes them later.
func (l *Log) retire(segs []*segment, delay time.Duration) error {
	var paths []string
	for _, s := range segs {
		for _, path := range []string{indexPath(s.path), s.path} {
			if err := l.fs.Rename(path, path+deletedSuffix); err != nil && !isNotExist(err) {
				return err
			}
			paths = append(paths, path+deletedSuffix)
		}
		if err := s.release(); err != nil {
			return err
		}
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	l.deletions.after(delay, func() { l.removeRetired(paths) })
	return nil
}

func (l *Log) removeRetired(paths []string) {
	for _, path := range paths {
		if err := l.fs.Remove(path); err != nil && !isNotExist(err) {
			l.cfg.Logger.Warn("dropped segment is not removed until the log is opened again", "file", path, "error", err)
		}
	}
}

// deletions are the removals that wait for their time.
type deletions struct {
	mu      sync.Mutex
	stopped bool
	timers  map[*time.Timer]struct{}
	running sync.WaitGroup
}

// after runs f after the delay, or never once stop was called.
func (d *deletions) after(delay time.Duration, f func()) {
	if delay <= 0 {
		f()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return
	}
	if d.timers == nil {
		d.timers = map[*time.Timer]struct{}{}
	}
	var t *time.Timer
	d.running.Add(1)
	t = time.AfterFunc(delay, func() {
		defer d.running.Done()
		d.mu.Lock()
		delete(d.timers, t)
		stopped := d.stopped
		d.mu.Unlock()
		if !stopped {
			f()
		}
	})
	d.timers[t] = struct{}{}
}

// stop gives up what waits and returns once nothing runs. What is left is
// removed by the next Open.
func (d *deletions) stop() {
	d.mu.Lock()
	d.stopped = true
	for t := range d.timers {
		if t.Stop() {
			d.running.Done()
		}
	}
	clear(d.timers)
	d.mu.Unlock()
	d.running.Wait()
}

// compactJournal writes the journal anew where more of it is dead than alive.
// The new one is complete and synced before it takes the old one's name. The
// caller holds writeMu and syncMu, and the journal is synced.
func (l *Log) compactJournal() error {
	live := l.mu.state.liveBytes()
	if dead := l.mu.journalSize - live; dead <= live || dead <= l.cfg.journalSlack {
		return nil
	}
	next := *l.mu.state
	next.header = journalHeader{generation: next.header.generation + 1, first: next.first(), bytes: live}
	tmp := filepath.Join(l.dir, journalName+tmpSuffix)
	j, err := l.writeCompacted(&next, tmp)
	if err != nil {
		return l.fail("rewrite journal", err)
	}
	if err := l.fs.Rename(tmp, filepath.Join(l.dir, journalName)); err != nil {
		j.release()
		return l.fail("rewrite journal", err)
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		j.release()
		return l.fail("rewrite journal", err)
	}
	l.mu.Lock()
	old := l.mu.journal
	l.mu.state, l.mu.journal = &next, j
	l.mu.journalSize, l.mu.journalSynced = live, live
	l.mu.Unlock()
	if err := old.release(); err != nil {
		return l.fail("rewrite journal", err)
	}
	return nil
}

// writeCompacted writes what lives into a new file and syncs it; entries of
// next get their new places.
func (l *Log) writeCompacted(next *journalState, tmp string) (*journalFile, error) {
	if err := l.fs.Remove(tmp); err != nil && !isNotExist(err) {
		return nil, err
	}
	f, err := l.fs.Create(tmp)
	if err != nil {
		return nil, err
	}
	old := l.mu.journal.file
	buf := next.header.append(nil)
	var pos int64 // of buf in the file
	moved := make([]entryMeta, 0, len(next.entries))
	next.live(func(r journalRecord, m *entryMeta) bool {
		if m != nil {
			r.data = make([]byte, m.bytes)
			if _, err = readFull(old, r.data, m.pos); err != nil {
				return false
			}
			to := *m
			to.pos = pos + int64(len(buf)) + recordFixedBytes
			moved = append(moved, to)
		}
		if buf = r.append(buf); len(buf) >= bodyWindow {
			if _, err = f.WriteAt(buf, pos); err != nil {
				return false
			}
			pos += int64(len(buf))
			buf = buf[:0]
		}
		return true
	})
	if err == nil {
		_, err = f.WriteAt(buf, pos)
	}
	if size := pos + int64(len(buf)); err == nil && size != next.header.bytes {
		err = fmt.Errorf("journal of %d bytes, expected %d", size, next.header.bytes)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	next.entries = moved
	return newJournalFile(f), nil
}
