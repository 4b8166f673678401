package broker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fanfold/fanfold/cluster/configs"
)

// The scrubber reads what nobody else does, and names what is damaged in it.
func TestScrubberFindsAFlippedBit(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b := startBroker(t, t.TempDir(), nil)
	defer b.stop(t)
	c := b.client(t, kgo.AllowAutoTopicCreation())
	defer c.Close()
	for i := range 100 {
		must(t, c.ProduceSync(ctx, &kgo.Record{Topic: "scrubbed", Value: []byte(fmt.Sprint(i))}).FirstErr())
	}
	var said bytes.Buffer
	b.node.opts.Logger = slog.New(slog.NewTextHandler(&said, nil))
	scrub := func() { b.node.eachReplica(func(r *localReplica) { b.node.scrub(ctx, r, 1<<40) }) }

	scrub()
	if said.Len() > 0 {
		t.Fatalf("a sound log is called damaged: %s", &said)
	}
	file := flipInSegment(t, b.node.opts.DataDir)
	scrub()
	if !strings.Contains(said.String(), file) || !strings.Contains(said.String(), "damaged") {
		t.Errorf("the damage of %s is not named: %q", file, said.String())
	}
	if got := counterValue(t, b.node.stats.corruptions); got != 1 {
		t.Errorf("%v corruptions are counted; want 1", got)
	}
}

// flipInSegment flips a bit in the middle of the one segment below dir.
func flipInSegment(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "topics", "*", "0", "*.log"))
	must(t, err)
	if len(names) != 1 {
		t.Fatalf("segments: %v; want one", names)
	}
	f, err := os.OpenFile(names[0], os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	var one [1]byte
	_, err = f.ReadAt(one[:], info.Size()/2)
	must(t, err)
	one[0] ^= 4
	_, err = f.WriteAt(one[:], info.Size()/2)
	must(t, err)
	return names[0]
}

func counterValue(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	must(t, err)
	return families[0].Metric[0].Counter.GetValue()
}

// Everything is read within log.scrub.days, and not faster than that needs.
func TestScrubRateFollowsDays(t *testing.T) {
	b := startBroker(t, t.TempDir(), map[string]string{"log.scrub.days": "7"})
	defer b.stop(t)
	if days := b.node.scrubDays(); days != 7 {
		t.Errorf("%d days; want 7", days)
	}
	if rate := b.node.scrubRate(7); rate != scrubMinRate {
		t.Errorf("an empty node is scrubbed at %d bytes a second; want %d", rate, scrubMinRate)
	}
	const day, tib = 24 * 60 * 60, 1 << 40
	if rate := scrubRateOf(tib, 7); rate*7*day < tib || rate*7*day > tib+7*day {
		t.Errorf("1 TiB in 7 days at %d bytes a second is not 1 TiB in 7 days", rate)
	}
	if def := configs.Lookup(configs.Broker, "log.scrub.days"); def == nil {
		t.Error("log.scrub.days is not in the table")
	}
}
