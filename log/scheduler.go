package log

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fanfold/fanfold/internal/vfs"
)

// SyncConfig says how a SyncScheduler works.
type SyncConfig struct {
	FS  vfs.FS // for syncing it as a whole; nil means that this is never done
	Dir string // any directory of that file system

	// InFlight bounds the syncs that run at once, of those that wrote little
	// twice as many; zero means 8.
	InFlight int

	// WholeFrom is how many files must wait for one sync of the whole file
	// system to be made for all of them; zero means 2 on Linux and never
	// elsewhere, negative never. It is not made where much was written, or while
	// it costs more than syncs of the files, as where others write much to the
	// same file system.
	WholeFrom int

	// Observe, if not nil, is told of each sync: how long it took and for how
	// many files it was. It must not block.
	Observe func(d time.Duration, files int)

	Now func() time.Time // nil means time.Now
}

// SyncScheduler makes files durable for all logs of a node: one sync for all
// who ask for the same file meanwhile, and one of the whole file system for
// files that come to wait while another sync runs. Where much was written, or
// that sync takes long, files wait no longer: a bounded number of syncs runs at
// once. Callers'
// goroutines do the work; it starts none.
type SyncScheduler struct {
	cfg SyncConfig

	mu struct {
		sync.Mutex
		running int
		active  map[vfs.File]struct{} // being synced one by one
		waiting map[vfs.File]*syncRequest
		queue   []*syncRequest // waiting, in order
		whole   bool           // a sync of the whole file system runs
		noWhole bool           // there is no such sync here
		closed  bool
		idle    *sync.Cond

		bytes   int64       // of those that run or wait
		coming  int         // syncs that were announced and not asked for yet
		waits   time.Time   // since when the queue is not empty, or nothing runs
		started time.Time   // of the sync that was started last
		alarm   *time.Timer // calls next when patience is over
		armed   bool

		// Averages of how long a sync takes: of one file, of the whole, and of
		// the whole for each file it was for.
		one, wholeTook, wholeEach time.Duration
	}
}

// syncRequest is one file that waits, for all who asked.
type syncRequest struct {
	file  vfs.File
	bytes int64               // written since the last sync
	of    []*announcement     // of the logs that asked
	grant chan []*syncRequest // to the first who asked: go and sync these
	done  chan struct{}
	err   error
}

// NewSyncScheduler returns a scheduler that is ready to use.
func NewSyncScheduler(cfg SyncConfig) *SyncScheduler {
	if cfg.InFlight <= 0 {
		cfg.InFlight = 8
	}
	if cfg.WholeFrom == 0 {
		cfg.WholeFrom = wholeFromDefault
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &SyncScheduler{cfg: cfg}
	s.mu.active = map[vfs.File]struct{}{}
	s.mu.waiting = map[vfs.File]*syncRequest{}
	s.mu.noWhole = cfg.FS == nil || cfg.WholeFrom < 0
	s.mu.idle = sync.NewCond(&s.mu)
	s.mu.one, s.mu.wholeTook = time.Millisecond, time.Millisecond
	s.mu.alarm = time.AfterFunc(time.Hour, s.wake)
	s.mu.alarm.Stop()
	return s
}

// announcement is one log's word that it will soon ask for a sync: what could
// start then waits for it, though never for long. The scheduler's mutex guards
// it.
type announcement struct {
	made    bool // and not kept yet
	syncing bool // a sync that was asked for is not done: the next comes after it
}

// counts is 1 for one that is waited for.
func (a *announcement) counts() int {
	if a.made && !a.syncing {
		return 1
	}
	return 0
}

// update changes an announcement. The caller holds mu.
func (s *SyncScheduler) update(a *announcement, made, syncing bool) {
	s.mu.coming -= a.counts()
	a.made, a.syncing = made, syncing
	s.mu.coming += a.counts()
}

// announce says that a sync will be asked for, once the one under way is done.
func (s *SyncScheduler) announce(a *announcement) {
	s.mu.Lock()
	s.update(a, true, a.syncing)
	s.mu.Unlock()
}

// retract takes it back.
func (s *SyncScheduler) retract(a *announcement) {
	s.mu.Lock()
	if a.made {
		s.update(a, false, a.syncing)
		s.next(nil)
	}
	s.mu.Unlock()
}

// Sync returns once what was written to f before the call is durable. It
// returns ErrClosed after Close.
func (s *SyncScheduler) Sync(f vfs.File) error { return s.sync(f, 0, new(announcement)) }

// sync is Sync for the log that a is of, which wrote so many bytes, and keeps
// what it announced. A log has one sync at a time.
func (s *SyncScheduler) sync(f vfs.File, bytes int64, a *announcement) error {
	s.mu.Lock()
	s.update(a, false, true)
	if s.mu.closed {
		s.update(a, a.made, false)
		s.mu.Unlock()
		return ErrClosed
	}
	if r := s.mu.waiting[f]; r != nil {
		r.of = append(r.of, a)
		s.next(nil)
		s.mu.Unlock()
		<-r.done
		return r.err
	}
	if s.mu.running == 0 && len(s.mu.queue) == 0 && (s.mu.coming == 0 || !s.wholePays(s.cfg.WholeFrom)) {
		s.mu.running++
		s.mu.bytes += bytes
		s.mu.active[f] = struct{}{}
		s.mu.started = s.cfg.Now()
		s.mu.Unlock()
		err := s.one(f, bytes)
		s.finish(f, bytes, a)
		return err
	}
	r := &syncRequest{file: f, bytes: bytes, of: []*announcement{a}, grant: make(chan []*syncRequest, 1), done: make(chan struct{})}
	s.mu.waiting[f] = r
	s.mu.bytes += bytes
	if len(s.mu.queue) == 0 {
		s.mu.waits = s.cfg.Now()
	}
	s.mu.queue = append(s.mu.queue, r)
	s.next(r)
	s.mu.Unlock()
	select {
	case batch := <-r.grant:
		s.serve(batch)
	case <-r.done:
	}
	return r.err
}

// serve syncs what next granted and tells all who wait.
func (s *SyncScheduler) serve(batch []*syncRequest) {
	if len(batch) == 1 {
		r := batch[0]
		r.err = s.one(r.file, r.bytes)
		s.finish(r.file, r.bytes, r.of...)
		close(r.done)
		return
	}
	s.all(batch)
	s.mu.Lock()
	s.mu.running--
	s.mu.whole = false
	for _, r := range batch {
		s.ended(r.bytes, r.of)
	}
	s.next(nil)
	s.mu.Unlock()
	for _, r := range batch {
		close(r.done)
	}
}

func (s *SyncScheduler) one(f vfs.File, bytes int64) error {
	start := s.cfg.Now()
	err := f.Sync()
	s.observe(start, 1, bytes)
	return err
}

// all makes one sync for the batch. Each file is then asked for errors of its
// own: a sync of the whole file system tells only of those that came up since
// it began.
func (s *SyncScheduler) all(batch []*syncRequest) {
	start := s.cfg.Now()
	err := s.cfg.FS.SyncFS(s.cfg.Dir)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		s.mu.Lock()
		s.mu.noWhole = true
		s.mu.Unlock()
		for _, r := range batch {
			r.err = s.one(r.file, r.bytes)
		}
		return
	case err != nil:
		err = fmt.Errorf("sync file system: %w", err)
	}
	for _, r := range batch {
		if r.err = err; err == nil {
			r.err = writebackError(r.file)
		}
	}
	s.observe(start, len(batch), 0)
}

// observe takes down how long a sync took.
func (s *SyncScheduler) observe(start time.Time, files int, bytes int64) {
	d := s.cfg.Now().Sub(start)
	if s.cfg.Observe != nil {
		s.cfg.Observe(d, files)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case files == 1 && bytes > mostGathered:
	case files == 1:
		s.mu.one += (d - s.mu.one) / 8
	default:
		s.mu.wholeTook += (d - s.mu.wholeTook) / 8
		s.mu.wholeEach += (d/time.Duration(files) - s.mu.wholeEach) / 8
	}
}

// ended notes that syncs are done. The caller holds mu.
func (s *SyncScheduler) ended(bytes int64, of []*announcement) {
	s.mu.bytes -= bytes
	for _, a := range of {
		s.update(a, a.made, false)
	}
	s.mu.waits = s.cfg.Now()
}

func (s *SyncScheduler) finish(f vfs.File, bytes int64, of ...*announcement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.running--
	delete(s.mu.active, f)
	s.ended(bytes, of)
	s.next(nil)
}

// next starts what can be started; the work for several falls to own, if that
// is one of them. The caller holds mu.
func (s *SyncScheduler) next(own *syncRequest) {
	if s.mu.running == 0 {
		s.mu.idle.Broadcast()
	}
	if len(s.mu.queue) == 0 || s.gathers() {
		return
	}
	if s.wholePays(len(s.mu.queue)) {
		s.mu.whole = true
		if i := slices.Index(s.mu.queue, own); i > 0 {
			s.mu.queue[0], s.mu.queue[i] = s.mu.queue[i], s.mu.queue[0]
		}
		s.start(s.mu.queue)
		s.mu.queue = nil
		return
	}
	left := s.mu.queue[:0]
	for _, r := range s.mu.queue {
		most := s.cfg.InFlight
		if r.bytes <= mostGathered/8 {
			most *= 2 // little is not held up by much
		}
		if s.mu.running >= most || s.busy(r.file) {
			left = append(left, r)
			continue
		}
		s.mu.active[r.file] = struct{}{}
		s.start([]*syncRequest{r})
	}
	clear(s.mu.queue[len(left):])
	s.mu.queue = left
}

const (
	// longestGather is how long a file waits for others at most.
	longestGather = 5 * time.Millisecond

	// mostGathered is how many bytes are synced together at most. Of more, the
	// disk's own time is what a sync takes: gathering saves little, and who wrote
	// little would wait for it.
	mostGathered = 1 << 20
)

// gathers tells whether those who wait are left waiting, since the sync that
// runs will soon be done, or those that are announced will soon be here, and one
// sync of the whole can follow for all of them. Else they would be synced one by
// one, each with a commit of the file system's journal. The caller holds mu.
func (s *SyncScheduler) gathers() bool {
	if s.mu.noWhole || s.mu.bytes > mostGathered || s.mu.running == 0 && s.mu.coming == 0 {
		return false
	}
	if s.mu.wholeEach > s.mu.one {
		s.mu.wholeEach -= s.mu.wholeEach/32 + 1 // until it is tried again
		return false
	}
	left := min(s.mu.wholeTook, longestGather/2) - s.cfg.Now().Sub(s.mu.waits)
	if s.mu.running > 0 {
		left = min(2*s.mu.wholeTook, longestGather) - s.cfg.Now().Sub(s.mu.started)
	}
	if left > 0 && !s.mu.armed {
		s.mu.armed = true
		s.mu.alarm.Reset(left)
	}
	return left > 0
}

func (s *SyncScheduler) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.armed = false
	s.next(nil)
}

// wholePays tells whether a sync of the whole file system is made for n files.
// The caller holds mu.
func (s *SyncScheduler) wholePays(n int) bool {
	return !s.mu.noWhole && !s.mu.whole && s.mu.bytes <= mostGathered && n >= s.cfg.WholeFrom && s.mu.wholeEach <= s.mu.one
}

func (s *SyncScheduler) busy(f vfs.File) bool {
	_, busy := s.mu.active[f]
	return busy
}

// start hands a batch to the goroutine that asked for its first file.
func (s *SyncScheduler) start(batch []*syncRequest) {
	s.mu.running++
	s.mu.started = s.cfg.Now()
	for _, r := range batch {
		delete(s.mu.waiting, r.file)
	}
	batch[0].grant <- batch
}

// Close refuses new calls and returns once those under way are done.
func (s *SyncScheduler) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.closed = true
	for s.mu.running > 0 || len(s.mu.queue) > 0 {
		s.mu.idle.Wait()
	}
	return nil
}
