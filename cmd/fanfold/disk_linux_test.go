package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"

	"github.com/fanfold/fanfold/internal/history"
	"github.com/fanfold/fanfold/protocol/record"
)

// resumeWithin is how long a broker may take to write again on its own once the
// disk has space.
const resumeWithin = 30 * time.Second

// mountDisk mounts a disk for the time of the test, or skips it.
func mountDisk(t *testing.T, at string, mount func() error) {
	t.Helper()
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := mount(); err != nil {
		t.Skipf("a disk of its own cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			if err := os.CopyFS(at+".copy", os.DirFS(at)); err != nil {
				t.Logf("copy the disk: %v", err)
			}
		}
		unmount(t, at)
	})
}

func unmount(t *testing.T, at string) {
	t.Helper()
	err := unix.Unmount(at, 0)
	for tries := 0; errors.Is(err, syscall.EBUSY) && tries < 200; tries++ {
		pause(context.Background(), 10*time.Millisecond)
		err = unix.Unmount(at, 0)
	}
	if err != nil {
		t.Errorf("unmount %s: %v", at, err)
		_ = unix.Unmount(at, unix.MNT_DETACH)
	}
}

// A probe asks a broker to write one record, in a request of its own, without
// the retries that hide its answers.
type probe struct {
	l      *load
	client *kgo.Client
	number uint32
	seq    uint64
}

func (l *load) newProbe() *probe {
	l.t.Helper()
	return &probe{l: l, client: l.server.client(), number: l.clients.Add(1)}
}

// try writes to partition 0 of a topic and returns the broker's error, with its
// message.
func (p *probe) try(ctx context.Context, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	topics, err := kadm.NewClient(p.client).ListTopics(ctx, topic)
	if err != nil {
		return err
	}
	p.seq++
	op := history.Op{Kind: history.Produce, Client: p.number, Topic: topic, Value: history.ValueOf(p.number, p.seq), Start: p.l.history.Now()}
	req, err := p.request(topic, topics[topic].ID, op.Value)
	if err != nil {
		return err
	}
	resp, err := req.RequestWith(ctx, p.client)
	if err == nil && (len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1) {
		err = fmt.Errorf("%d topics in the answer", len(resp.Topics))
	}
	if err != nil {
		op.Outcome, op.Offset = history.Unknown, -1
		p.l.history.Append(op)
		return err
	}
	answer := resp.Topics[0].Partitions[0]
	op.Offset = answer.BaseOffset
	if err = kerr.ErrorForCode(answer.ErrorCode); err != nil {
		op.Outcome, op.Offset = history.Unknown, -1
		message := "without a message"
		if answer.ErrorMessage != nil {
			message = *answer.ErrorMessage
		}
		err = fmt.Errorf("%w: %s", err, message)
	}
	p.l.history.Append(op)
	return err
}

func (p *probe) request(topic string, id kadm.TopicID, v history.Value) (*kmsg.ProduceRequest, error) {
	builder, err := record.NewBuilder(record.None, 0)
	if err != nil {
		return nil, err
	}
	builder.Append(time.Now().UnixMilli(), nil, history.AppendPayload(nil, v, 200<<10), nil)
	batch, err := builder.Build(nil)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 5000
	t, partition := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	t.Topic, t.TopicID = topic, id
	partition.Records = batch
	t.Partitions = append(t.Partitions, partition)
	req.Topics = append(req.Topics, t)
	return req, nil
}

// awaitStorageErrors writes until each topic answers with a storage error.
func (p *probe) awaitStorageErrors(topics ...string) {
	t := p.l.t
	t.Helper()
	for _, topic := range topics {
		for began := time.Now(); ; {
			err := p.try(t.Context(), topic)
			if errors.Is(err, kerr.KafkaStorageError) {
				t.Logf("%s: %v", topic, err)
				break
			}
			if err != nil {
				t.Logf("%s: meanwhile: %v", topic, err)
			}
			if !p.l.server.Running() {
				t.Fatalf("the broker ended: %s", p.l.server.Stderr())
			}
			if time.Since(began) > time.Minute {
				t.Fatalf("%s is still written to; the last answer: %v", topic, err)
			}
			pause(t.Context(), 5*time.Millisecond)
		}
	}
}

// awaitWritable writes until each topic takes it.
func (p *probe) awaitWritable(topics ...string) {
	t := p.l.t
	t.Helper()
	began := time.Now()
	for _, topic := range topics {
		for err := p.try(t.Context(), topic); err != nil; err = p.try(t.Context(), topic) {
			if time.Since(began) > resumeWithin {
				t.Fatalf("%s takes no records after %s: %v", topic, resumeWithin, err)
			}
			pause(t.Context(), 20*time.Millisecond)
		}
	}
	t.Logf("all topics take records again after %d ms", time.Since(began).Milliseconds())
}

// TestDiskThatIsFull fills the disk below a broker that two topics are written
// to: what was acknowledged is not lost and is read meanwhile, and once there is
// space everything goes on by itself.
func TestDiskThatIsFull(t *testing.T) {
	s := newServer(t)
	disk := filepath.Join(s.root, "disk")
	mountDisk(t, disk, func() error { return unix.Mount("tmpfs", disk, "tmpfs", 0, "size=96m") })
	s.dataDir = filepath.Join(disk, "data")
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 64<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	l := newLoad(t, s, 1, plainTopic, rollsTopic)
	l.begin()
	p := l.newProbe()
	p.awaitStorageErrors(plainTopic, rollsTopic)
	s.administerWithoutSpace()
	// Long enough for the broker to have tried again several times.
	readings := 0
	for began := time.Now(); time.Since(began) < 5*time.Second; readings++ {
		s.countAll(plainTopic)
		s.countAll(rollsTopic)
	}
	t.Logf("everything was read %d times while the disk was full", readings)
	p.awaitStorageErrors(plainTopic, rollsTopic)
	before := l.produced.Load()

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	p.awaitWritable(plainTopic, rollsTopic)
	for began := time.Now(); l.produced.Load() == before && time.Since(began) < resumeWithin; {
		pause(t.Context(), 10*time.Millisecond)
	}
	l.end()
	t.Logf("%d records were acknowledged before there was space, %d after", before, l.produced.Load()-before)
	if l.produced.Load() == before {
		t.Error("producers did not go on")
	}
	s.Kill()
	s.start()
	l.readAgain()
	l.check()
}

// readAgain reads everything once more, after a restart.
func (l *load) readAgain() {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, topic := range l.topics {
		if err := l.readFinally(ctx, topic, topic); err != nil {
			l.t.Errorf("after a restart: %v", err)
		}
	}
}

// administerWithoutSpace creates and deletes topics: that works or is refused,
// in time.
func (s *server) administerWithoutSpace() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	admin := s.admin()
	for n := range 20 {
		topic := fmt.Sprintf("without-space-%d", n)
		_, err := admin.CreateTopic(ctx, 3, 1, nil, topic)
		if n == 0 {
			s.t.Logf("creating a topic without space: %v", err)
		}
		if err == nil {
			_, err = admin.DeleteTopic(ctx, topic)
		}
		if ctx.Err() != nil {
			s.t.Errorf("metadata operations hang without space: %v", err)
			return
		}
		if !s.Running() {
			s.t.Fatalf("the broker ended: %s", s.Stderr())
		}
	}
}

// TestDiskThatFailsLosesNothingAcknowledged writes to a broker whose disk fails
// for every call from one moment on, and forgets what was not synced, as after a
// loss of power. What was acknowledged, and what anybody has read, is there when
// the disk works again. FANFOLD_KILLS is five times the number of failures.
func TestDiskThatFailsLosesNothingAcknowledged(t *testing.T) {
	rounds := 2
	if text := os.Getenv("FANFOLD_KILLS"); text != "" {
		rounds = max(rounds, parseNumber[int](t, "FANFOLD_KILLS", text)/5)
	}
	s := newServer(t)
	disk := filepath.Join(s.root, "disk")
	image := filepath.Join(s.root, "image")
	mount := func() error { return mountImage(image, disk) }
	if err := makeImage(image); err != nil {
		t.Skipf("no file system can be made: %v", err)
	}
	mountDisk(t, disk, mount)
	s.dataDir = filepath.Join(disk, "data")
	s.start()
	l := newLoad(t, s, rand.Uint64(), plainTopic, rollsTopic, trimmedTopic)
	t.Logf("seed %d", l.seed)
	l.begin()
	for range rounds {
		waitFor(s, time.Duration(500+rand.IntN(1000))*time.Millisecond)
		s.freeze()
		if err := failDisk(disk); err != nil {
			t.Skipf("the file system cannot be made to fail: %v", err)
		}
		s.thaw()
		l.newProbe().awaitStorageErrors(plainTopic)
		s.Kill()
		unmount(t, disk)
		if err := mount(); err != nil {
			t.Fatalf("mount again: %v", err)
		}
		s.start()
	}
	l.end()
	l.check()
	s.Kill() // before the disk is unmounted
}

// freeze stops the process, and waits until no system call of it is under way.
// (An fdatasync during which ext4 is shut down may succeed all the same, and
// what it should have synced is lost: that says nothing of a broker.)
func (s *server) freeze() {
	s.t.Helper()
	if err := unix.Kill(s.PID(), unix.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	for began := time.Now(); ; {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.PID()))
		if err != nil {
			s.t.Fatal(err)
		}
		stopped := 0
		for _, thread := range threads {
			text, err := os.ReadFile(thread)
			if _, rest, found := strings.Cut(string(text), ") "); err == nil && found && strings.HasPrefix(rest, "T") {
				stopped++
			}
		}
		if stopped == len(threads) && stopped > 0 {
			return
		}
		if time.Since(began) > 20*time.Second {
			s.t.Fatalf("%d of %d threads have stopped", stopped, len(threads))
		}
		pause(context.Background(), time.Millisecond)
	}
}

// thaw lets the process go on.
func (s *server) thaw() {
	s.t.Helper()
	if err := unix.Kill(s.PID(), unix.SIGCONT); err != nil {
		s.t.Fatal(err)
	}
}

// makeImage makes a file system in a file.
func makeImage(image string) error {
	file, err := os.Create(image)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(1 << 30); err != nil {
		return err
	}
	return tool("mkfs.ext4", "-q", "-F", image)
}

// mountImage mounts a file's file system. The loop device goes with the mount.
func mountImage(image, at string) error { return tool("mount", "-o", "loop", image, at) }

func tool(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// failDisk makes an ext4 file system answer everything with EIO from now on,
// and keeps its journal from being written (EXT4_IOC_SHUTDOWN with
// EXT4_GOING_FLAGS_NOLOGFLUSH): what was not synced is gone when it is mounted
// again.
func failDisk(at string) error {
	const shutdown, withoutLogFlush = 0x8004587d, 2
	dir, err := os.Open(at)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, withoutLogFlush)
}
