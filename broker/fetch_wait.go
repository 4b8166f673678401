package broker

import (
	"sync/atomic"
	"time"
)

// fetchWait is a fetch that waits for data: watches on its partitions and a
// timer, and no goroutine. It is not used again, since a partition may call it
// once more after it was taken off.
type fetchWait struct {
	conn  *conn
	call  *call
	timer *time.Timer
	state atomic.Int32
	need  atomic.Int64 // bytes
}

// States of a fetchWait.
const (
	waitArming int32 = iota // its watches are being placed
	waitEarly               // woken meanwhile
	waitArmed               // waiting
	waitWoken               // on its way to be answered
)

// await makes the fetch wait until enough has been committed, something goes
// wrong, or its time is up.
func (f *fetchCall) await(c *conn, k *call) {
	w := &fetchWait{conn: c, call: k}
	w.need.Store(int64(f.request.MinBytes) - int64(f.bytes))
	f.wait = w
	f.releaseRecords()
	f.srv.metrics.waiting.Inc()
	for i := range f.items {
		f.items[i].replica.Watch(w, f.items[i].result.HighWatermark)
	}
	w.timer = time.AfterFunc(f.maxWait(), w.timeUp)
	c.mu.Lock()
	k.wait = w
	c.mu.Unlock()
	if !w.state.CompareAndSwap(waitArming, waitArmed) {
		w.state.Store(waitWoken)
		c.complete(k, byReader)
	}
}

// disarm takes the fetch off its partitions.
func (f *fetchCall) disarm() {
	if f.wait == nil {
		return
	}
	f.wait.timer.Stop()
	for i := range f.items {
		f.items[i].replica.Unwatch(f.wait)
	}
	f.wait = nil
	f.srv.metrics.waiting.Dec()
}

// Advanced is told of committed bytes (partition.Waiter); of none where
// something else changed that the client should know.
func (w *fetchWait) Advanced(bytes int) {
	if w.need.Add(-int64(bytes)) <= 0 || bytes == 0 {
		w.wakeBy(byCallback)
	}
}

func (w *fetchWait) timeUp() { w.wakeBy(byWorker) }

// wake answers the fetch with what there is.
func (w *fetchWait) wake() { w.wakeBy(byCallback) }

// wakeBy completes the call, once.
func (w *fetchWait) wakeBy(by completer) {
	if w.state.CompareAndSwap(waitArming, waitEarly) {
		return
	}
	if w.state.CompareAndSwap(waitArmed, waitWoken) {
		w.conn.complete(w.call, by)
	}
}

// wakeFetches answers all fetches of the connection that wait.
func (c *conn) wakeFetches() {
	c.mu.Lock()
	var waits []*fetchWait
	for k := c.mu.first; k != nil; k = k.next {
		if k.wait != nil {
			waits = append(waits, k.wait)
		}
	}
	c.mu.Unlock()
	for _, w := range waits {
		w.wake()
	}
}
