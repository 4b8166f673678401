package interop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fanfold/fanfold/interop/broker"
	"github.com/fanfold/fanfold/interop/tree"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// quickFiles is how many files go from every client to every other.
const quickFiles = 400

// TestEveryWriterToEveryReader: each client writes part of Go's source tree,
// and each other one reads it back.
func TestEveryWriterToEveryReader(t *testing.T) {
	tr := goSource(t, quickFiles)
	for _, w := range programs(t) {
		t.Run(w.name, func(t *testing.T) {
			var readers []program
			for _, r := range programs(t) {
				if r.reads {
					readers = append(readers, r)
				}
			}
			passTree(t, tr, w, readers)
		})
	}
}

// TestWholeTree: all of Go's source tree is written by each client, and read
// back by the next one.
func TestWholeTree(t *testing.T) {
	if !suite.full {
		t.Skip("FANFOLD_INTEROP is not full")
	}
	tr := goSource(t, 0)
	all := programs(t)
	for i, w := range all {
		next := all[(i+1)%len(all)]
		if !next.reads {
			next = all[(i+2)%len(all)]
		}
		t.Run(w.name+" to "+next.name, func(t *testing.T) { passTree(t, tr, w, []program{next}) })
	}
}

func passTree(t *testing.T, tr *tree.Tree, w program, readers []program) {
	topic := newTopic(t, suite.broker, "tree-"+w.name+fmt.Sprint(len(tr.Files)), topicPartitions)
	acks := filepath.Join(t.TempDir(), "acks")
	started := time.Now()
	w.run(t, suite.broker, "produce", "--topic", topic, "--codec", w.codec, "--tree", tr.Root, "--files", listed(t, tr), "--acks", acks)
	progress(t, tr, started, "%s wrote %s (%s)", w.name, topic, w.codec)

	at := positions(t, suite.broker, tr, topic)
	if !w.fanfold {
		count, err := at.CheckAcks(acks)
		if err != nil || count != tr.Records() {
			t.Fatalf("%s, topic %s: %d acknowledgements of %d records: %v", w.name, topic, count, tr.Records(), err)
		}
	}
	for _, r := range readers {
		rebuild(t, suite.broker, tr, topic, r, at)
	}
}

// rebuild lets a client rebuild the tree from a topic.
func rebuild(t *testing.T, b *broker.Broker, tr *tree.Tree, topic string, r program, at *tree.Positions) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), r.name)
	started := time.Now()
	r.run(t, b, "consume", "--topic", topic, "--out", dir)
	err := tr.Compare(dir)
	var diff *tree.Difference
	switch {
	case errors.As(err, &diff):
		t.Errorf("%s read topic %s: %v (%s)", r.name, topic, err, at.Where(diff.File, diff.Line))
	case err != nil:
		t.Errorf("%s read topic %s: %v", r.name, topic, err)
	default:
		progress(t, tr, started, "%s rebuilt %d files from %s", r.name, len(tr.Files), topic)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

func progress(t *testing.T, tr *tree.Tree, since time.Time, format string, args ...any) {
	t.Helper()
	took := time.Since(since)
	t.Logf("%s: %d records in %.1f s", fmt.Sprintf(format, args...), tr.Records(), took.Seconds())
}

// positions reads a topic that holds a tree and checks every record of it.
func positions(t *testing.T, b *broker.Broker, tr *tree.Tree, topic string) *tree.Positions {
	t.Helper()
	at := tree.NewPositions(tr)
	err := readAll(t, b, topic, func(r *kgo.Record) error { return at.Add(r.Partition, r.Offset, r.Key, r.Value) })
	if err != nil {
		t.Fatalf("topic %s: %v", topic, err)
	}
	if err := at.Complete(); err != nil {
		t.Fatalf("topic %s: %v", topic, err)
	}
	return at
}

// readAll calls add with every record up to the present end.
func readAll(t *testing.T, b *broker.Broker, topic string, add func(*kgo.Record) error) error {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), topic)
	if err != nil {
		return err
	}
	left := 0
	ends.Each(func(o kadm.ListedOffset) {
		if err == nil {
			err = o.Err
		}
		left += int(o.Offset)
	})
	for left > 0 && err == nil {
		fetches := cl.PollFetches(t.Context())
		for _, e := range fetches.Errors() {
			return fmt.Errorf("partition %d: %w", e.Partition, e.Err)
		}
		for r := range fetches.RecordsAll() {
			left--
			if err := add(r); err != nil {
				return err
			}
		}
	}
	return err
}
