package replication

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/fanfold/fanfold/internal/vfs"
	"github.com/fanfold/fanfold/log"
)

// benchMachine answers proposals, which are *sync.WaitGroup.
type benchMachine struct {
	leads chan uint64
}

func (m *benchMachine) Attach(*log.Log)                 {}
func (m *benchMachine) Restore([]byte) (uint64, error)  { return 0, nil }
func (m *benchMachine) Snapshot() []byte                { return []byte{1} }
func (m *benchMachine) Stored(log.EntryInfo, any)       {}
func (m *benchMachine) Applied()                        {}
func (m *benchMachine) LeaderStart() (log.Kind, []byte) { return kindTestStart, nil }
func (m *benchMachine) SteppedDown()                    {}
func (m *benchMachine) Failed(err error)                { panic(err) }
func (m *benchMachine) Dropped(request any, err error)  { panic(fmt.Sprint(request, err)) }
func (m *benchMachine) Apply(e log.EntryInfo, request any) {
	switch r := request.(type) {
	case *inFlight:
		<-r.window
		r.wg.Done()
	case leaderStart:
		m.leads <- e.Term
	}
}

// inFlight is who waits for a proposal, and the window that it is in.
type inFlight struct {
	wg     sync.WaitGroup
	window chan struct{}
}

// Proposals a second on the operating system's files, each acknowledgement
// synced, with up to 64 under way in each group.
func BenchmarkPropose(b *testing.B) {
	for _, groups := range []int{1, 32} {
		for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("groups=%d/batch=%d", groups, size), func(b *testing.B) { benchmarkPropose(b, groups, size) })
		}
	}
}

func benchmarkPropose(b *testing.B, groups, size int) {
	dir := b.TempDir()
	node, err := OpenNode(NodeConfig{Dir: dir, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	defer node.Close()
	type member struct {
		*Group
		term uint64
		flow inFlight
		next int
		data [][]byte // one for each place in the window: it is written into
	}
	all := make([]*member, groups)
	for i := range all {
		machine := &benchMachine{leads: make(chan uint64, 1)}
		m := &member{flow: inFlight{window: make(chan struct{}, 64)}}
		m.Group, err = node.OpenGroup(b.Context(), GroupConfig{
			ID: testGroup(i), Dir: filepath.Join(dir, fmt.Sprint(i)), ServerID: "1-1", Machine: machine,
			Limits: log.Limits{SegmentBytes: 256 << 20}, Logger: quiet,
		})
		if err != nil {
			b.Fatal(err)
		}
		m.term = <-machine.leads
		window := 64
		if size > 64<<10 {
			window = 4
		}
		m.flow.window = make(chan struct{}, window)
		for range window + 1 {
			m.data = append(m.data, batch(b, 1, size))
		}
		all[i] = m
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		m := all[i%groups]
		i++
		m.flow.window <- struct{}{}
		m.flow.wg.Add(1)
		m.next++
		if err := m.Propose(KindBatch, m.data[m.next%len(m.data)], m.term, &m.flow); err != nil {
			b.Fatal(err)
		}
	}
	for _, m := range all {
		m.flow.wg.Wait()
	}
}

// What an election costs: a term and a vote.
func BenchmarkVotes(b *testing.B) {
	for _, groups := range []int{1, 64} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			v, err := OpenVotes(vfs.OS, b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer v.Close()
			b.ReportAllocs()
			var wg sync.WaitGroup
			for g := range groups {
				n := b.N / groups
				if g == 0 {
					n += b.N % groups
				}
				wg.Go(func() {
					for term := range n {
						if err := v.set(testGroup(g), testVote(uint64(term+1))); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
