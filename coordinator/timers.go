package coordinator

import (
	"container/heap"
	"time"
)

// timerKey names a timer: at most one of each is set. What a timer does must
// not set it again for the same time.
type timerKey struct {
	kind   timerKind
	group  string
	member string // "" for the group's own
}

type timerKind uint8

const (
	sessionTimer   timerKind = iota // a member's heartbeats
	rebalanceTimer                  // a classic group's joining or syncing; a member's revocation
	joinTimer                       // a member id that was given out and not used
	offsetsTimer                    // expiry of offsets, of the whole machine
	deletionTimer                   // offsets of deleted topics, of the whole machine
	regexTimer                      // regular expressions to resolve again
	assignTimer                     // a consumer group's target assignment
	rejoinTimer                     // a classic member of a consumer group that is to join again
	syncTimer                       // one that is to send SyncGroup
)

// timers are kept by time. Moving one to a later time, as each heartbeat does,
// costs a map's look-up: its place is mended when it comes up.
type timers struct {
	byKey map[timerKey]*timer
	queue timerQueue
}

type timer struct {
	key timerKey
	at  time.Time // when it is due
	up  time.Time // when it comes up in the queue: at or before
	run func(now time.Time)

	index int // in the queue
}

// set starts a timer anew, with what to do when it is due.
func (t *timers) set(key timerKey, at time.Time, run func(now time.Time)) {
	if t.move(key, at) {
		t.byKey[key].run = run
		return
	}
	if t.byKey == nil {
		t.byKey = map[timerKey]*timer{}
	}
	e := &timer{key: key, at: at, up: at, run: run}
	t.byKey[key] = e
	heap.Push(&t.queue, e)
}

// move changes when a timer is due, if it is set.
func (t *timers) move(key timerKey, at time.Time) bool {
	e := t.byKey[key]
	if e == nil {
		return false
	}
	e.at = at
	if at.Before(e.up) {
		e.up = at
		heap.Fix(&t.queue, e.index)
	}
	return true
}

// stop forgets a timer.
func (t *timers) stop(key timerKey) {
	if e := t.byKey[key]; e != nil {
		heap.Remove(&t.queue, e.index)
		delete(t.byKey, key)
	}
}

// isSet says whether a timer is set.
func (t *timers) isSet(key timerKey) bool { return t.byKey[key] != nil }

// next is when the first timer is due.
func (t *timers) next() (time.Time, bool) {
	t.settle()
	if len(t.queue) == 0 {
		return time.Time{}, false
	}
	return t.queue[0].up, true
}

// settle puts the timer that is due first to the top: those whose time is later
// than their place go to it.
func (t *timers) settle() {
	for len(t.queue) > 0 && t.queue[0].at.After(t.queue[0].up) {
		t.queue[0].up = t.queue[0].at
		heap.Fix(&t.queue, 0)
	}
}

// run does what is due, including what that makes due.
func (t *timers) run(now time.Time) {
	for {
		t.settle()
		if len(t.queue) == 0 || t.queue[0].up.After(now) {
			return
		}
		e := heap.Pop(&t.queue).(*timer)
		delete(t.byKey, e.key)
		e.run(now)
	}
}

type timerQueue []*timer

func (q timerQueue) Len() int           { return len(q) }
func (q timerQueue) Less(i, j int) bool { return q[i].up.Before(q[j].up) }
func (q timerQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *timerQueue) Push(e any) {
	t := e.(*timer)
	t.index = len(*q)
	*q = append(*q, t)
}

func (q *timerQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}
