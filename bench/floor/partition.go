//go:build linux

package main

import (
	"encoding/binary"
	"os"
	"sort"
	"sync"

	"golang.org/x/sys/unix"
)

// partition is one file of record batches.
type partition struct {
	file *os.File
	sync bool
	news func()        // readers can see more
	wake chan struct{} // of capacity 1: something was written

	mu      sync.Mutex
	batches []place // in order
	size    int64   // of the file
	next    int64   // offset
	removed bool
	written []func() // to call when the next sync has ended
	durable struct { // what readers see
		size, next int64
	}
}

// place is where the batch with a first offset is.
type place struct{ offset, at int64 }

func openPartition(path string, sync bool, news func()) (*partition, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	p := &partition{file: f, sync: sync, news: news, wake: make(chan struct{}, 1)}
	go p.syncs()
	return p, nil
}

// append writes whole batches and has done called when they are synced.
func (p *partition) append(records []byte, done func()) (base int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.removed {
		return 0, os.ErrClosed
	}
	base = p.next
	for b := records; len(b) >= 61; {
		binary.BigEndian.PutUint64(b, uint64(p.next))
		length := 12 + int64(binary.BigEndian.Uint32(b[8:]))
		p.batches = append(p.batches, place{p.next, p.size + int64(len(records)-len(b))})
		p.next += int64(binary.BigEndian.Uint32(b[23:])) + 1
		b = b[min(length, int64(len(b))):]
	}
	at := p.size
	p.size += int64(len(records))
	if _, err = p.file.WriteAt(records, at); err != nil {
		return 0, err
	}
	p.written = append(p.written, done)
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return base, nil
}

// syncs makes durable what was written, and all that came meanwhile with the
// next turn.
func (p *partition) syncs() {
	for range p.wake {
		p.mu.Lock()
		done, size, next := p.written, p.size, p.next
		p.written = nil
		p.mu.Unlock()
		if len(done) == 0 {
			continue
		}
		if p.sync {
			if err := unix.Fdatasync(int(p.file.Fd())); err != nil {
				panic(err) // a floor has no better idea
			}
		}
		p.mu.Lock()
		p.durable.size, p.durable.next = size, next
		p.mu.Unlock()
		p.news()
		for _, f := range done {
			f()
		}
	}
}

// read finds what to send from an offset on: whole batches of at most this
// many bytes, but at least one.
func (p *partition) read(offset, most int64) (at, length, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	end = p.durable.next
	if offset >= end {
		return 0, 0, end
	}
	first := sort.Search(len(p.batches), func(i int) bool { return p.batches[i].offset > offset }) - 1
	at = p.batches[first].at
	stop := p.durable.size
	if stop-at > most {
		last := sort.Search(len(p.batches), func(i int) bool { return p.batches[i].at > at+most }) - 1
		if last = max(last, first+1); last < len(p.batches) {
			stop = min(stop, p.batches[last].at)
		}
	}
	return at, stop - at, end
}

// remove ends the syncing and takes the file away; its space comes back when
// the last reader is gone and the file is collected.
func (p *partition) remove() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removed = true
	close(p.wake)
	os.Remove(p.file.Name())
}
