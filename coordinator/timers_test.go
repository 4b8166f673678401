package coordinator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestTimers does at random what machines do with timers, and the same with a
// plain map.
func TestTimers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	now := time.UnixMilli(0)
	var timers timers
	plain := map[timerKey]time.Time{}
	var ran []timerKey
	for range 20_000 {
		key := timerKey{timerKind(random.IntN(3)), fmt.Sprint(random.IntN(5)), fmt.Sprint(random.IntN(3))}
		at := now.Add(time.Duration(1+random.IntN(100)) * time.Millisecond)
		switch random.IntN(5) {
		case 0:
			timers.set(key, at, func(time.Time) { ran = append(ran, key) })
			plain[key] = at
		case 1:
			_, set := plain[key]
			if timers.move(key, at) != set {
				t.Fatalf("%v is moved: %v", key, !set)
			}
			if set {
				plain[key] = at
			}
		case 2:
			timers.stop(key)
			delete(plain, key)
		default:
			now = now.Add(time.Duration(random.IntN(20)) * time.Millisecond)
			ran = ran[:0]
			timers.run(now)
			for _, key := range ran {
				if due, ok := plain[key]; !ok || due.After(now) {
					t.Fatalf("%v runs at %v, it is due at %v (set: %v)", key, now, due, ok)
				}
				delete(plain, key)
			}
		}
		first := time.Time{}
		for key, at := range plain {
			if !timers.isSet(key) {
				t.Fatalf("%v is not set", key)
			}
			if at.After(now) && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
		if len(timers.byKey) != len(plain) || len(timers.queue) != len(plain) {
			t.Fatalf("%d timers of %d, %d in the queue", len(timers.byKey), len(plain), len(timers.queue))
		}
		if next, ok := timers.next(); ok != (len(plain) > 0) || ok && next.After(now) && !next.Equal(first) {
			t.Fatalf("next is %v, instead of %v", next, first)
		}
	}
}

func TestTimersMakeOthersDue(t *testing.T) {
	var timers timers
	var ran []string
	at := time.UnixMilli(1000)
	timers.set(timerKey{group: "a"}, at, func(now time.Time) {
		ran = append(ran, "a")
		timers.set(timerKey{group: "b"}, now, func(time.Time) { ran = append(ran, "b") })
	})
	timers.run(at.Add(-time.Millisecond))
	timers.run(at)
	if !slices.Equal(ran, []string{"a", "b"}) {
		t.Fatalf("ran %v", ran)
	}
	if next, ok := timers.next(); ok {
		t.Fatalf("something is due at %v", next)
	}
}
