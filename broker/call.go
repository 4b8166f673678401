package broker

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/protocol"
)

// call is one request from when it was read until its answer is written.
type call struct {
	conn    *conn
	api     *api
	header  protocol.Header
	began   time.Time
	granted int64 // of the budget for bytes in flight
	answer  answer
	produce *produceCall // the answer, where the request is a Produce
	request kmsg.Request // decoded, where it goes through the queue
	run     func(ctx context.Context, k *call) answer

	// Guarded by the connection's mutex.
	next      *call
	queueNext *call
	done      bool
	wait      *fetchWait // where it is a fetch that waits for data
}

// answer is what a call comes to.
type answer interface {
	// send writes the answer. It is called at most once, when all requests
	// before it are answered; an error closes the connection.
	send(w *answerWriter, k *call) error
	// drop gives back what the answer holds, after send or instead of it.
	drop()
}

var callPool = sync.Pool{New: func() any { return new(call) }}

// newCall makes a call. It is finished once: by the writer, or when the
// connection is gone.
func newCall(c *conn, a *api, h protocol.Header, granted int64) *call {
	k := callPool.Get().(*call)
	*k = call{conn: c, api: a, header: h, began: time.Now(), granted: granted}
	return k
}

// finish ends the call, whether or not it was answered.
func (k *call) finish() {
	k.conn.srv.metrics.observe(k.api, time.Since(k.began))
	if k.answer != nil {
		k.answer.drop()
	}
	k.conn.srv.releaseBytes(k.granted)
	*k = call{}
	callPool.Put(k)
}

// push puts the call in line for its answer.
func (c *conn) push(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.last == nil {
		c.mu.first = k
	} else {
		c.mu.last.next = k
	}
	c.mu.last = k
	c.mu.calls++
}

// Who calls complete decides who writes.
type completer int

const (
	byReader   completer = iota // the reader: it writes before it waits for more
	byCallback                  // a goroutine that must not block
	byWorker                    // a goroutine that may write itself
)

// complete marks the call as ready to be answered and sees to it that it is,
// when its turn has come.
func (c *conn) complete(k *call, by completer) {
	c.mu.Lock()
	k.done = true
	k.wait = nil
	if c.mu.detached {
		c.mu.Unlock()
		k.finish()
		return
	}
	c.mu.done++
	blocking := c.blockingFetch()
	claimed := by != byReader && c.claimWriter()
	c.mu.Unlock()
	if blocking != nil {
		blocking.wake()
	}
	if !claimed {
		return
	}
	if by == byWorker {
		c.writeDone()
		return
	}
	c.srv.wg.Go(c.writeDone)
}

// claimWriter makes the caller the connection's writer, if there is something
// to write and no writer. Callers hold mu and call writeDone afterwards,
// without it.
func (c *conn) claimWriter() bool {
	if c.mu.writing || c.mu.closed || c.mu.first == nil || !c.mu.first.done {
		return false
	}
	c.mu.writing = true
	return true
}

// writeAnswers writes what is done, unless someone does already.
func (c *conn) writeAnswers() {
	c.mu.Lock()
	claimed := c.claimWriter()
	c.mu.Unlock()
	if claimed {
		c.writeDone()
	}
}

// writeDone writes answers as long as the first request in line is done.
func (c *conn) writeDone() {
	w := newAnswerWriter(c)
	c.mu.Lock()
	for !c.mu.closed {
		run, n := c.takeDone()
		if n == 0 {
			break
		}
		c.mu.Unlock()
		err := w.sendRun(run)
		c.mu.Lock()
		c.mu.calls -= n
		c.changed.Broadcast()
		if err != nil {
			c.markClosed()
			c.srv.log.Debug("answer not written", "peer", c.nc.RemoteAddr().String(), "cause", err)
		}
	}
	c.mu.writing = false
	c.changed.Broadcast()
	closed := c.mu.closed
	blocking := c.blockingFetch()
	c.mu.Unlock()
	w.free()
	if blocking != nil {
		blocking.wake()
	}
	if closed {
		_ = c.nc.Close() // wakes the reader
	}
}

// takeDone takes the calls at the head of the line that are done. Callers hold
// mu.
func (c *conn) takeDone() (run *call, n int) {
	run = c.mu.first
	var last *call
	for k := run; k != nil && k.done; k = k.next {
		last = k
		n++
	}
	if n == 0 {
		return nil, 0
	}
	c.mu.done -= n
	c.mu.first = last.next
	last.next = nil
	if c.mu.first == nil {
		c.mu.last = nil
	}
	return run, n
}

// enqueue runs the call after those queued before it, on a goroutine of the
// connection's own: requests that may block are handled one after another, as
// a client expects of those that it sends over one connection.
func (c *conn) enqueue(k *call) {
	c.mu.Lock()
	if c.mu.queueLast == nil {
		c.mu.queueFirst = k
	} else {
		c.mu.queueLast.queueNext = k
	}
	c.mu.queueLast = k
	start := !c.mu.queueRuns
	c.mu.queueRuns = true
	c.mu.Unlock()
	if start {
		c.srv.wg.Go(c.runQueue)
	}
}

func (c *conn) runQueue() {
	for {
		c.mu.Lock()
		k := c.mu.queueFirst
		if k == nil {
			c.mu.queueRuns = false
			c.mu.Unlock()
			return
		}
		c.mu.queueFirst = k.queueNext
		if c.mu.queueFirst == nil {
			c.mu.queueLast = nil
		}
		c.mu.Unlock()
		k.answer = k.run(c.ctx, k)
		c.complete(k, byWorker)
	}
}
