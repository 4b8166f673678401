package interop

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fanfold/fanfold/interop/broker"
)

// crashFiles is how many files are written while the broker is killed, in
// quick runs.
const crashFiles = 1500

// TestKill9 kills the broker twice while a client writes, and starts it again
// on the same data and port. The client goes on by itself; everything that was
// acknowledged before and after is there, once and in order.
func TestKill9(t *testing.T) {
	limit := crashFiles
	if suite.full {
		limit = 0
	}
	tr := goSource(t, limit)
	list, all := listed(t, tr), tr.Records()
	// What a client needs to keep order and write nothing twice over retries:
	// the defaults of Java and franz-go are that already.
	settings := map[string][]string{
		"java":       nil,
		"librdkafka": {"--set", "enable.idempotence=true"},
		"franz-go":   nil,
	}
	for _, name := range []string{"java", "librdkafka", "franz-go"} {
		t.Run(name, func(t *testing.T) {
			b := ownBroker(t)
			w := named(t, name)
			topic := newTopic(t, b, "crash-"+name, topicPartitions)
			acks := filepath.Join(t.TempDir(), "acks")
			started := time.Now()
			p := w.start(t, b, "produce", append([]string{"--topic", topic, "--codec", w.codec, "--tree", tr.Root,
				"--files", list, "--acks", acks}, settings[name]...)...)
			seen := &ackCounter{path: acks}
			for _, part := range []int{all / 3, all * 2 / 3} {
				p.until(t, seen, part)
				if err := b.Kill(); err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: broker killed after at least %d of %d acknowledgements", name, seen.count, all)
				if err := b.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := p.wait(); err != nil {
				t.Fatal(err)
			}
			progress(t, tr, started, "%s wrote %s over two kills", name, topic)
			at := positions(t, b, tr, topic)
			if count, err := at.CheckAcks(acks); err != nil || count != all {
				t.Fatalf("%s, topic %s: %d acknowledgements of %d records: %v", name, topic, count, all, err)
			}
			rebuild(t, b, tr, topic, named(t, map[string]string{
				"java": "librdkafka", "librdkafka": "sarama", "franz-go": "java",
			}[name]), at)
		})
	}
}

// ownBroker is a broker for one test alone.
func ownBroker(t *testing.T) *broker.Broker {
	t.Helper()
	return brokerOf(t, suite.kind)
}

func brokerOf(t *testing.T, kind broker.Kind) *broker.Broker {
	t.Helper()
	b, err := broker.Start(t.Context(), kind, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// ackCounter counts the lines of a growing log of acknowledgements.
type ackCounter struct {
	path  string
	at    int64
	count int
}

func (a *ackCounter) read() error {
	f, err := os.Open(a.path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Seek(a.at, io.SeekStart); err != nil {
		return err
	}
	content, err := io.ReadAll(f)
	a.at += int64(len(content))
	a.count += bytes.Count(content, []byte{'\n'})
	return err
}

// until waits until at least n records are acknowledged.
func (r *process) until(t *testing.T, seen *ackCounter, n int) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		if err := seen.read(); err != nil {
			t.Fatal(err)
		}
		if seen.count >= n {
			return
		}
		select {
		case err := <-r.done:
			t.Fatalf("%s ended after %d acknowledgements, before %d: %v\n%s", r.name, seen.count, n, err, r.out.String())
		case <-poll.C:
		}
	}
}
