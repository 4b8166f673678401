package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fanfold/fanfold/internal/proctest"
)

// readyWithin is how long a broker process may take until it serves, on a
// machine that does much else.
const readyWithin = 30 * time.Second

// A server is `fanfold serve` as processes of their own, one after the other,
// on one data directory and address.
type server struct {
	*proctest.Process // the present or last one

	t       *testing.T
	root    string // holds all that is kept of a failed test
	dataDir string
	address string
	args    []string
	log     *os.File // standard error of all processes
}

// newServer prepares a server that is not started yet. What it leaves is
// removed, but for a failed test: then its place is shown.
func newServer(t *testing.T, args ...string) *server {
	t.Helper()
	root := keptDir(t)
	log, err := os.Create(filepath.Join(root, "broker.log"))
	if err != nil {
		t.Fatal(err)
	}
	address, err := proctest.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, root: root, dataDir: filepath.Join(root, "data"), address: address, args: args, log: log}
	t.Cleanup(func() {
		if s.Process != nil {
			s.Kill()
		}
		log.Close()
		for _, line := range s.logged("panic:", "fatal error:", "DATA RACE", "invariant violated") {
			t.Errorf("the broker says: %s", line)
		}
	})
	return s
}

// keptDir is a new directory, which is kept if the test fails.
func keptDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fanfold-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("everything of this test is kept in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// launch starts a process and does not wait until it serves.
func (s *server) launch() {
	s.t.Helper()
	args := append([]string{"serve", "--data-dir", s.dataDir, "--listen", s.address}, s.args...)
	if !strings.Contains(strings.Join(s.args, " "), "--http-listen") {
		args = append(args, "--http-listen", "off")
	}
	s.Process = startProgram(s.t, proctest.Options{Args: args, Stderr: s.log, Limit: 10 * time.Minute})
}

// start starts a process and waits until it serves.
func (s *server) start() {
	s.t.Helper()
	s.launch()
	s.awaitReady()
}

func (s *server) awaitReady() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	if err := s.Await(ctx, func(out string) bool { return strings.Contains(out, "Ctrl-C stops it.") }); err != nil {
		s.t.Fatal(err)
	}
}

// stop stops the process as Ctrl-C does, and returns how long that took.
func (s *server) stop() time.Duration {
	s.t.Helper()
	if runtime.GOOS == "windows" {
		s.t.Skip("Windows has no SIGTERM")
	}
	began := time.Now()
	if err := s.Terminate(); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if status, err := s.Wait(ctx); status != exitOK || err != nil {
		s.t.Fatalf("after SIGTERM: status %d, %v; stderr %s", status, err, s.Stderr())
	}
	return time.Since(began)
}

// complaints are the lines of the broker's log that it writes only where
// something fails.
func (s *server) complaints() []string { return s.logged("level=ERROR") }

// logged are the lines of the broker's log that hold one of the texts.
func (s *server) logged(texts ...string) (lines []string) {
	s.t.Helper()
	log, err := os.ReadFile(s.log.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(line, text) }) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// startProgram starts the program as a process that ends with the test. Of the
// environment it gets no FANFOLD_ variables.
func startProgram(t *testing.T, opts proctest.Options) *proctest.Process {
	t.Helper()
	opts.Drop = envPrefix
	p, err := proctest.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// runProgram runs the program as a process until it ends.
func runProgram(t *testing.T, env []string, args ...string) result {
	t.Helper()
	p := startProgram(t, proctest.Options{Args: args, Env: env, Limit: time.Minute})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	status, err := p.Wait(ctx)
	if err != nil {
		t.Fatalf("fanfold %q: %v", args, err)
	}
	return result{status, p.Stdout(), p.Stderr()}
}

// client is a client of the server, which is closed with the test. It finds a
// server again within a moment of its restart.
func (s *server) client(opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	c, err := s.newClient(opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

func (s *server) newClient(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(s.address),
		kgo.AlwaysRetryEOF(),
		kgo.MetadataMinAge(20 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.RequestTimeoutOverhead(5 * time.Second),
		kgo.FetchMaxWait(200 * time.Millisecond),
	}, opts...)...)
}

// admin is an administrator's client of the server.
func (s *server) admin() *kadm.Client { return kadm.NewClient(s.client()) }

// createTopic creates a topic; pairs are names and values of configs.
func (s *server) createTopic(topic string, partitions int32, pairs ...string) {
	s.t.Helper()
	configs := map[string]*string{}
	for i := 0; i < len(pairs); i += 2 {
		configs[pairs[i]] = &pairs[i+1]
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	c, err := s.newClient()
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(ctx, partitions, 1, configs, topic); err != nil {
		s.t.Fatalf("create topic %s: %v", topic, err)
	}
}

// endOffsets are the ends of a topic's partitions.
func endOffsets(ctx context.Context, admin *kadm.Client, topic string) (map[int32]int64, error) {
	return offsetsOf(admin.ListEndOffsets(ctx, topic))
}

// startOffsets are the starts of a topic's partitions.
func startOffsets(ctx context.Context, admin *kadm.Client, topic string) (map[int32]int64, error) {
	return offsetsOf(admin.ListStartOffsets(ctx, topic))
}

func offsetsOf(listed kadm.ListedOffsets, err error) (map[int32]int64, error) {
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, err
	}
	offsets := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { offsets[o.Partition] = o.Offset })
	if len(offsets) == 0 {
		return nil, fmt.Errorf("no partition is listed")
	}
	return offsets, nil
}

// readAll reads a topic's partitions from their starts to their ends as they
// are now, and returns both.
func (s *server) readAll(ctx context.Context, topic string, each func(*kgo.Record)) (starts, ends map[int32]int64, err error) {
	c, err := s.newClient()
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	if ends, err = endOffsets(ctx, admin, topic); err != nil {
		return nil, nil, fmt.Errorf("list ends: %w", err)
	}
	if starts, err = startOffsets(ctx, admin, topic); err != nil {
		return nil, nil, fmt.Errorf("list starts: %w", err)
	}
	from, waiting := map[int32]kgo.Offset{}, 0
	for p, end := range ends {
		if starts[p] < end {
			from[p] = kgo.NewOffset().At(starts[p])
			waiting++
		}
	}
	if waiting == 0 {
		return starts, ends, nil
	}
	reader, err := s.newClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return nil, nil, err
	}
	defer reader.Close()
	for waiting > 0 {
		fetches := reader.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			return nil, nil, fmt.Errorf("read %s-%d: %w", e.Topic, e.Partition, e.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset >= ends[r.Partition] {
				return
			}
			each(r)
			if r.Offset == ends[r.Partition]-1 {
				waiting--
			}
		})
	}
	return starts, ends, nil
}

// pause waits for a while, or until ctx ends, which it tells.
func pause(ctx context.Context, d time.Duration) (goOn bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
