package bench

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Distribution is how long something took, in milliseconds, with three
// significant digits.
type Distribution struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_ms"`
	Min   float64 `json:"min_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	P9999 float64 `json:"p9999_ms"`
	Max   float64 `json:"max_ms"`
}

// Times longer than this count as this.
const longest = 10 * time.Minute

// timings collects times from several goroutines.
type timings struct {
	mu struct {
		sync.Mutex
		h *hdrhistogram.Histogram
	}
}

func newTimings() *timings {
	t := &timings{}
	t.mu.h = hdrhistogram.New(1, longest.Microseconds(), 3)
	return t
}

func (t *timings) add(d time.Duration) {
	micros := min(max(d.Microseconds(), 1), longest.Microseconds())
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.mu.h.RecordValue(micros) // in its range
}

// join adds what o has collected.
func (t *timings) join(o *timings) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.h.Merge(o.mu.h)
}

// distribution is nil where nothing was collected.
func (t *timings) distribution() *Distribution {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.mu.h
	if h.TotalCount() == 0 {
		return nil
	}
	ms := func(micros int64) float64 { return float64(micros) / 1000 }
	return &Distribution{
		Count: h.TotalCount(), Mean: h.Mean() / 1000, Min: ms(h.Min()), Max: ms(h.Max()),
		P50: ms(h.ValueAtQuantile(50)), P90: ms(h.ValueAtQuantile(90)), P99: ms(h.ValueAtQuantile(99)),
		P999: ms(h.ValueAtQuantile(99.9)), P9999: ms(h.ValueAtQuantile(99.99)),
	}
}
