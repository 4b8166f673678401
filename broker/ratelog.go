package broker

import (
	"log/slog"
	"sync"
	"time"
)

// hostileInterval is how far apart lines about bad input are at least.
const hostileInterval = time.Second

// rateLog logs what broken and hostile clients do: one line a second at most,
// which tells how many were left out.
type rateLog struct {
	to *slog.Logger

	mu struct {
		sync.Mutex
		last    time.Time
		omitted int
	}
}

func newRateLog(to *slog.Logger) *rateLog { return &rateLog{to: to} }

// log says what peer did.
func (l *rateLog) log(peer, cause string) {
	l.mu.Lock()
	now := time.Now()
	if now.Sub(l.mu.last) < hostileInterval {
		l.mu.omitted++
		l.mu.Unlock()
		return
	}
	omitted := l.mu.omitted
	l.mu.last, l.mu.omitted = now, 0
	l.mu.Unlock()
	l.to.Warn("bad input", "peer", peer, "cause", cause, "omitted", omitted)
}
