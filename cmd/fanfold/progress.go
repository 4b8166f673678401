package main

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/internal/units"
)

// meter counts records and bytes as they pass.
type meter struct {
	records, bytes atomic.Int64
	started        time.Time
}

func newMeter() *meter { return &meter{started: time.Now()} }

func (m *meter) add(bytes int) {
	m.records.Add(1)
	m.bytes.Add(int64(bytes))
}

// pace is records and bytes a second since the start.
func (m *meter) pace() (records, bytes float64) {
	seconds := max(time.Since(m.started).Seconds(), 1e-9)
	return float64(m.records.Load()) / seconds, float64(m.bytes.Load()) / seconds
}

// line is the progress as one line of text.
func (m *meter) line(verb string) string {
	records, bytes := m.pace()
	return fmt.Sprintf("%s %s (%s) in %s: %s records/s, %s/s", verb, plural(m.records.Load(), "record"), units.FormatBytes(m.bytes.Load()),
		units.FormatElapsed(time.Since(m.started)), units.FormatCount(int64(records)), units.FormatBytes(int64(bytes)))
}

// progressInterval is how often a progress line is drawn anew.
const progressInterval = 200 * time.Millisecond

// showProgress draws a line on a terminal until stop is called, which erases
// it and waits for its goroutine.
func showProgress(terminal io.Writer, line func() string) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				fmt.Fprintf(terminal, "\r\x1b[K%s", line())
			case <-quit:
				fmt.Fprint(terminal, "\r\x1b[K")
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}
