package broker

import (
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/log"
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
// wrong, or its time is up. It is false, and the fetch does not wait, where all
// fetches together watch as many partitions as they may.
func (f *fetchCall) await(c *conn, k *call) bool {
	if most := int64(f.srv.cfg.MaxWaitingPartitions); f.srv.watched.Add(int64(len(f.items))) > most {
		f.srv.watched.Add(-int64(len(f.items)))
		return false
	}
	f.watching = len(f.items)
	f.srv.metrics.waiting.Inc()
	// It may wait for long: others need the bytes that it was granted.
	f.srv.releaseBytes(k.granted)
	k.granted = 0
	w := &fetchWait{conn: c, call: k}
	w.need.Store(int64(f.request.MinBytes) - int64(f.bytes))
	f.wait = w
	f.slim()
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
	return true
}

// slim lets go of what a waiting fetch does not need: the records that it read,
// the request's bytes, and what was decoded from them.
func (f *fetchCall) slim() {
	for i := range f.items {
		f.items[i].result.Records.Release()
		f.items[i].result.Records = log.Range{}
	}
	f.request.Topics, f.request.ForgottenTopics = nil, nil
	f.frame.free()
	f.frame = nil
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

// blockingFetch is the first request in line, if that is a fetch that waits
// while answers to later requests are there: it has to be answered with what
// there is. Otherwise they, and what they hold, would wait as long as it does.
// Callers hold mu, and wake it without.
func (c *conn) blockingFetch() *fetchWait {
	if c.mu.first == nil || c.mu.done == 0 {
		return nil
	}
	return c.mu.first.wait
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
