package broker

import (
	"math/rand/v2"
	"sync"
	"testing"
)

func TestBudgetGrantsInOrder(t *testing.T) {
	b := newBudget(100)
	first, _ := b.acquire(60, nil)
	type grant struct{ n, granted int64 }
	grants := make(chan grant)
	var done sync.WaitGroup
	ask := func(n int64) {
		before := waiting(b)
		done.Go(func() {
			granted, _ := b.acquire(n, nil)
			grants <- grant{n, granted}
		})
		eventually(t, "it waits", func() bool { return waiting(b) > before })
	}
	ask(500) // larger than all
	ask(10)  // would fit, but comes later
	if _, ok := b.tryAcquire(10); ok {
		t.Error("one passes those who wait")
	}
	b.release(first)
	if g := <-grants; g.n != 500 || g.granted != 100 {
		t.Errorf("granted %d of %d; want all of the budget to the large one", g.granted, g.n)
	}
	if waiting(b) != 1 {
		t.Error("the small one does not wait for the large one")
	}
	b.release(100)
	if g := <-grants; g.granted != 10 {
		t.Errorf("granted %d; want 10", g.granted)
	}
	b.release(10)
	done.Wait()
	if b.used.Load() != 0 {
		t.Errorf("%d bytes are used", b.used.Load())
	}
}

func waiting(b *budget) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := b.mu.head; w != nil; w = w.next {
		n++
	}
	return n
}

func TestBudgetUnderCancellation(t *testing.T) {
	b := newBudget(1000)
	var done sync.WaitGroup
	for seed := range uint64(8) {
		done.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			for range 2000 {
				cancel := make(chan struct{})
				if r.IntN(3) == 0 {
					close(cancel)
				}
				if granted, ok := b.acquire(r.Int64N(1200), cancel); ok {
					b.release(granted)
				}
			}
		})
	}
	done.Wait()
	if b.used.Load() != 0 || waiting(b) != 0 {
		t.Errorf("%d bytes are used, %d wait", b.used.Load(), waiting(b))
	}
}

func TestFrameClasses(t *testing.T) {
	last := -1
	for n := 1; n <= largestClassBytes; n += 1 + n/50 {
		class, size := classOf(n)
		if size < n || n > smallestClassBytes && size > n+n/4+1 {
			t.Fatalf("%d bytes get a buffer of %d", n, size)
		}
		if class < last || class > last+1 || class >= frameClasses {
			t.Fatalf("%d bytes are of class %d after %d", n, class, last)
		}
		last = class
	}
	if class, size := classOf(largestClassBytes); class != frameClasses-1 || size != largestClassBytes {
		t.Errorf("the largest class is %d of %d bytes", class, size)
	}
	for _, n := range []int{0, 1, 1024, 1025, 5000, largestClassBytes, largestClassBytes + 1} {
		f := newFrame(n)
		if len(f.data) != n {
			t.Errorf("a frame of %d bytes has %d", n, len(f.data))
		}
		f.free()
	}
}
