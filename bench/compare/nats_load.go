//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/bench"
)

// natsWindow is how many messages of a connection wait for their
// acknowledgements: what NATS's own client allows at most.
const natsWindow = 4000

// natsPipeline publishes to streams in turn without waiting for each
// acknowledgement: what a client does that wants throughput. Its Exchange
// returns when the message is in line and the window has room; Close waits for
// all acknowledgements.
type natsPipeline struct {
	*natsConn
	subjects []string
	sent     int
	w        *bufio.Writer
	slots    chan struct{} // one for each message in flight
	failed   chan error    // capacity 1: why no more acknowledgements come
	reading  sync.WaitGroup
}

func newNATSPipeline(c *natsConn, subjects []string) (*natsPipeline, error) {
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	c.pong = new(atomic.Bool)
	p := &natsPipeline{
		natsConn: c, subjects: subjects, w: bufio.NewWriterSize(c.conn, 64<<10),
		slots: make(chan struct{}, natsWindow), failed: make(chan error, 1),
	}
	p.reading.Go(func() { p.failed <- p.readAcks() })
	return p, nil
}

// readAcks frees a slot for each acknowledgement until the connection ends.
func (p *natsPipeline) readAcks() error {
	for {
		m, err := p.message()
		if err != nil {
			return err
		}
		if !bytes.Contains(m.payload, []byte(`"seq":`)) {
			return fmt.Errorf("JetStream refused a record: %s", m.payload)
		}
		<-p.slots
	}
}

func (p *natsPipeline) Exchange(value []byte) error {
	if err := p.takeSlot(); err != nil {
		return err
	}
	subject := p.subjects[p.sent%len(p.subjects)]
	p.sent++
	p.out = p.out[:0]
	if p.pong.Swap(false) {
		p.out = append(p.out, pong...)
	}
	p.out = append(append(append(p.out, "PUB "...), subject...), ' ')
	p.out = append(append(p.out, p.inbox...), ' ')
	p.out = append(strconv.AppendInt(p.out, int64(len(value)), 10), "\r\n"...)
	_, err1 := p.w.Write(p.out)
	_, err2 := p.w.Write(value)
	_, err3 := io.WriteString(p.w, "\r\n")
	return errors.Join(err1, err2, err3)
}

// takeSlot waits for room in the window; what is buffered goes out before.
func (p *natsPipeline) takeSlot() error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	if err := p.w.Flush(); err != nil {
		return err
	}
	timer := time.NewTimer(natsWithin)
	defer timer.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case err := <-p.failed:
		p.failed <- err
		return err
	case <-timer.C:
		return errors.New("JetStream acknowledges nothing")
	}
}

func (p *natsPipeline) Close() error {
	var err error
	for range natsWindow { // all are free again
		if err = p.takeSlot(); err != nil {
			break
		}
	}
	err = errors.Join(err, p.conn.Close())
	p.reading.Wait()
	return err
}

// produce is the workloads that write as fast as it goes.
func (n *natsServer) produce(t *turn, l bench.Load) (measured, error) {
	l = t.load(l)
	var s *span
	s, l.Watch = watch(t.server.pid())
	var subjects []string
	for i := range partitions {
		subjects = append(subjects, fmt.Sprintf("%s-%d", t.topic, i))
	}
	m, err := n.exchangeWith(t, l, s, func(c *natsConn, _ int) (bench.Exchanger, error) {
		return newNATSPipeline(c, subjects)
	})
	m.Ack = nil // times until a record is in line
	delete(m.Values, ackP50)
	delete(m.Values, ackP99)
	delete(m.Values, ackP999)
	return m, err
}

// exchange is the workload exchange-64.
func (n *natsServer) exchange(t *turn, l bench.Load, s *span) (measured, error) {
	return n.exchangeWith(t, l, s, func(c *natsConn, number int) (bench.Exchanger, error) {
		return natsExchanger{c, fmt.Sprintf("%s-%d", t.topic, number%partitions)}, nil
	})
}

// exchangeWith measures connections and verifies what they wrote.
func (n *natsServer) exchangeWith(t *turn, l bench.Load, s *span, use func(c *natsConn, number int) (bench.Exchanger, error)) (measured, error) {
	r, err := bench.ExchangeWith(t.ctx, l, func(ctx context.Context, number int) (bench.Exchanger, error) {
		c, err := dialNATS(ctx, t.server.address)
		if err != nil {
			return nil, err
		}
		return use(c, number)
	})
	if err != nil {
		return measured{}, err
	}
	m := measured{Values: sample{}, Verified: r.Acked}
	s.into(m.Values, r.Bytes)
	m.Values[recordsPerSecond], m.Values[mbPerSecond] = r.RecordsPerSecond, r.MBPerSecond
	m.acks(r.Ack)
	return m, errors.Join(s.err, verifyStreams(t.ctx, t.server.address, t.topic, partitions, *r.Acked))
}
