package groupdiff

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// handWritten is a sequence that somebody thought of.
type handWritten struct {
	name string
	kind groupKind
	run  func(q *sequence)
}

// TestSameAnswers sends the same sequences to kfake and to Fanfold. Every
// difference is in knownDifferences, or fails the test.
//
// FANFOLD_INTEROP=full runs more random sequences; FANFOLD_SEED is the seed of
// the first of them, as a failure prints it.
func TestSameAnswers(t *testing.T) {
	p := startPair(t)
	ok := t.Run("classic", func(t *testing.T) { p.runAll(t, classicSequences) })
	ok = t.Run("consumer", func(t *testing.T) { p.runAll(t, consumerSequences) }) && ok
	ok = t.Run("random classic", func(t *testing.T) { p.runRandom(t, classicGroup, randomClassic) }) && ok
	ok = t.Run("random consumer", func(t *testing.T) { p.runRandom(t, consumerGroup, randomConsumer) }) && ok
	if ok {
		p.checkKnown(t)
		p.checkCoverage(t)
	}
}

func (p *pair) runAll(t *testing.T, list []handWritten) {
	began := time.Now()
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) {
			q, end := p.sequence(t, c.kind)
			defer end()
			c.run(q)
		})
	}
	p.log(t, len(list), began)
}

// runRandom runs sequences of random requests until the first that fails.
func (p *pair) runRandom(t *testing.T, kind groupKind, run func(q *sequence, random *rand.Rand)) {
	count, seed := 40, rand.Uint64()>>1
	if os.Getenv("FANFOLD_INTEROP") == "full" {
		count = 1000
	}
	if text := os.Getenv("FANFOLD_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("FANFOLD_SEED: %v", err)
		}
		count, seed = 1, n
	}
	began := time.Now()
	for i := range count {
		name := fmt.Sprintf("FANFOLD_SEED=%d", seed+uint64(i))
		ok := t.Run(name, func(t *testing.T) {
			q, end := p.sequence(t, kind)
			defer end()
			run(q, rand.New(rand.NewPCG(seed+uint64(i), 0)))
		})
		if !ok {
			break
		}
	}
	p.log(t, count, began)
}

func (p *pair) log(t *testing.T, count int, began time.Time) {
	t.Logf("%d sequences, %d requests, %d differences that are meant, in %v",
		count, p.requests, p.meant, time.Since(began).Round(time.Millisecond))
	p.requests, p.meant = 0, 0
}

// checkKnown fails where a difference that is explained is not seen.
func (p *pair) checkKnown(t *testing.T) {
	for _, m := range p.known {
		if m.used == 0 && !m.mayBe {
			t.Errorf("known and not seen: %s: kfake %s, Fanfold %s (%s)", m.known.path, m.known.kfake, m.known.fanfold, m.why)
		}
	}
}

// groupKeys are the requests about groups.
var groupKeys = []kmsg.Key{
	kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.FindCoordinator, kmsg.JoinGroup, kmsg.Heartbeat, kmsg.LeaveGroup,
	kmsg.SyncGroup, kmsg.DescribeGroups, kmsg.ListGroups, kmsg.DeleteGroups, kmsg.OffsetDelete,
	kmsg.ConsumerGroupHeartbeat, kmsg.ConsumerGroupDescribe,
}

// checkCoverage fails where Fanfold lists a version that was not asked for.
func (p *pair) checkCoverage(t *testing.T) {
	resp, err := p.sides[1].control.ask(kmsg.NewPtrApiVersionsRequest())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range resp.(*kmsg.ApiVersionsResponse).ApiKeys {
		for v := k.MinVersion; v <= k.MaxVersion; v++ {
			if slices.Contains(groupKeys, kmsg.Key(k.ApiKey)) && !p.asked[[2]int16{k.ApiKey, v}] {
				t.Errorf("%s version %d is listed, and nothing asked for it", kmsg.NameForKey(k.ApiKey), v)
			}
		}
	}
}
