package log

import "github.com/fanfold/fanfold/internal/vfs"

// Sync returns once all that was appended before the call is durable. Calls
// that come while one syncs are served by the next sync together.
func (l *Log) Sync() error {
	l.mu.Lock()
	target := l.mu.end.index
	l.mu.Unlock()
	if done, err := l.synced(target); done {
		return err
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if done, err := l.synced(target); done {
		return err
	}
	return l.syncLocked()
}

// synced says whether all up to the entry target is durable, or never will be.
func (l *Log) synced(target uint64) (done bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return true, ErrClosed
	}
	if l.mu.durable.index >= target {
		return true, nil
	}
	return l.mu.failed != nil, l.mu.failed
}

// syncAll is Sync for one who holds writeMu.
func (l *Log) syncAll() error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	return l.syncLocked()
}

// syncLocked makes durable what is written. At most one file is dirty: the
// journal is written only where all data is synced, and data only where the
// journal is. The caller holds syncMu.
func (l *Log) syncLocked() error {
	l.mu.Lock()
	err := l.usable()
	end, size := l.mu.end, l.mu.journalSize
	clean := l.mu.durable.index >= end.index
	file, bytes := l.active().file, end.pos-l.mu.durable.pos
	journal := l.mu.journalDirty
	if journal {
		file, bytes = l.mu.journal.file, 0
	}
	l.mu.Unlock()
	if err != nil || clean {
		return err
	}
	if err := l.syncFile(file, bytes); err != nil {
		return l.fail("sync", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.durable = end
	if journal {
		l.mu.journalSynced = size
		l.mu.journalDirty = l.mu.journalSize > size
	}
	return nil
}

// AnnounceSync says that Sync will soon be called, once the call under way has
// returned, so that one sync can serve this log and others. RetractSync takes
// it back.
func (l *Log) AnnounceSync() {
	if l.scheduler != nil && !l.announced.Swap(true) {
		l.scheduler.announce(&l.announcement)
	}
}

// RetractSync ends an announcement, if there is one.
func (l *Log) RetractSync() {
	if l.announced.Load() && l.announced.Swap(false) {
		l.scheduler.retract(&l.announcement)
	}
}

// syncFile syncs a file to which so many bytes were written since the last time.
func (l *Log) syncFile(f vfs.File, bytes int64) error {
	if l.scheduler != nil {
		l.announced.Store(false)
		return l.scheduler.sync(f, bytes, &l.announcement)
	}
	if l.cfg.Syncer != nil {
		return l.cfg.Syncer.Sync(f)
	}
	return f.Sync()
}
