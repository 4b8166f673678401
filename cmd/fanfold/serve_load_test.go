package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fanfold/fanfold/internal/invariants"
)

// Bounds on a process's memory that hold on any machine; what a broker aims at
// is less, and is measured by benchmarks on a quiet one.
const (
	maxLoadedBytes     = 200 << 20
	maxPartitionsBytes = 250 << 20
)

// write writes records with several idempotent producers until ctx ends, and
// returns how many were acknowledged. Of records that a broker which stops did
// not acknowledge, no error is made.
func (s *server) write(ctx context.Context, topic string, producers, valueBytes int) int64 {
	s.t.Helper()
	var acknowledged atomic.Int64
	var running sync.WaitGroup
	value := bytes.Repeat([]byte("0123456789abcdef"), valueBytes/16)
	for range producers {
		c, err := s.newClient(kgo.ProducerBatchMaxBytes(1_000_000), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.AllowIdempotentProduceCancellation())
		if err != nil {
			s.t.Fatal(err)
		}
		running.Go(func() {
			defer c.Close()
			for ctx.Err() == nil {
				c.Produce(ctx, &kgo.Record{Topic: topic, Value: value}, func(_ *kgo.Record, err error) {
					if err == nil {
						acknowledged.Add(1)
					} else if ctx.Err() == nil {
						s.t.Errorf("produce: %v", err)
					}
				})
			}
			flushing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := c.Flush(flushing); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				s.t.Errorf("flush: %v", err)
			}
		})
	}
	running.Wait()
	return acknowledged.Load()
}

// countAll is how many records a topic holds, all of them read.
func (s *server) countAll(topic string) (records int64) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, _, err := s.readAll(ctx, topic, func(*kgo.Record) { records++ }); err != nil {
		s.t.Fatal(err)
	}
	return records
}

func TestServeStopsUnderLoad(t *testing.T) {
	s := newServer(t)
	s.start()
	s.createTopic("busy", 4)
	ctx, stopWriting := context.WithCancel(t.Context())
	defer stopWriting()
	written := make(chan int64, 1)
	go func() { written <- s.write(ctx, "busy", 3, 256) }()
	// A fetch that waits for records that never come must not hold it up.
	waiter := s.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"busy": {0: kgo.NewOffset().AtEnd()}}), kgo.FetchMinBytes(1<<20), kgo.FetchMaxWait(30*time.Second))
	go waiter.PollFetches(ctx)
	if !s.awaitRecords("busy", 2000, ctx.Done()) {
		t.Fatal("nothing was written")
	}
	took := s.stop()
	stopWriting()
	acknowledged := <-written
	t.Logf("stopped after %d ms, with %d records acknowledged", took.Milliseconds(), acknowledged)
	if took > 5*time.Second {
		t.Errorf("stopping took %s", took)
	}
	s.start()
	if n := s.countAll("busy"); n < acknowledged {
		t.Errorf("%d records are there, %d were acknowledged", n, acknowledged)
	}
	for _, line := range s.complaints() {
		t.Errorf("the broker says: %s", line)
	}
}

func TestServeReadsNoDataAfterCleanStop(t *testing.T) {
	if _, err := os.Stat("/proc/self/io"); err != nil {
		t.Skip("what a process has read is known from /proc/PID/io alone")
	}
	s := newServer(t)
	s.start()
	s.createTopic("large", 4, "segment.bytes", "4194304")
	const records, size = 1000, 64 << 10
	c := s.client(kgo.ProducerBatchMaxBytes(1_000_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := bytes.Repeat([]byte("fanfold\n"), size/8)
	for range records {
		c.Produce(t.Context(), &kgo.Record{Topic: "large", Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("produce: %v", err)
			}
		})
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.start()
	read := s.procNumber("io", "rchar")
	t.Logf("with %d MiB of data the process has read %d KiB when it serves; %s", records*size>>20, read>>10, firstLine(s.Stdout()))
	if read > records*size/8 {
		t.Errorf("%d bytes were read after a clean stop", read)
	}
	s.Kill()
	s.start()
	read = s.procNumber("io", "rchar")
	t.Logf("after kill -9: %d KiB; %s", read>>10, firstLine(s.Stdout()))
	if read > records*size/2 {
		t.Errorf("%d bytes were read after kill -9", read)
	}
	if n := s.countAll("large"); n != records {
		t.Errorf("%d records are there, %d were written", n, records)
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func TestServeMemoryUnderLoad(t *testing.T) {
	s := newServer(t)
	s.start()
	s.createTopic("busy", 8)
	s.memory("VmHWM") // skips where it is unknown
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	acknowledged := s.write(ctx, "busy", 4, 1024)
	peak, now := s.memory("VmHWM"), s.memory("VmRSS")
	t.Logf("%d records of 1 KiB in 3 s from 4 producers: at most %d MiB resident, now %d MiB", acknowledged, peak>>20, now>>20)
	if peak > maxLoadedBytes && !invariants.Enabled {
		t.Errorf("%d bytes of resident memory", peak)
	}
	n := s.countAll("busy")
	t.Logf("after reading all %d: at most %d MiB", n, s.memory("VmHWM")>>20)
	if n < acknowledged {
		t.Errorf("%d records are there, %d were acknowledged", n, acknowledged)
	}
	if peak = s.memory("VmHWM"); peak > maxLoadedBytes && !invariants.Enabled {
		t.Errorf("%d bytes of resident memory after reading", peak)
	}
}

func TestServeThousandPartitions(t *testing.T) {
	const partitions = 1000
	s := newServer(t)
	s.start()
	began := time.Now()
	s.createTopic("wide", partitions)
	t.Logf("created %d partitions in %d ms", partitions, time.Since(began).Milliseconds())
	s.memory("VmRSS") // skips where it is unknown
	began = time.Now()
	c := s.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for p := range int32(partitions) {
		c.Produce(t.Context(), &kgo.Record{Topic: "wide", Partition: p, Value: []byte("a record")}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("partition %d: %v", p, err)
			}
		})
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("wrote to all in %d ms; %d MiB resident", time.Since(began).Milliseconds(), s.memory("VmRSS")>>20)
	t.Logf("stopped in %d ms", s.stop().Milliseconds())
	s.start()
	t.Log(firstLine(s.Stdout()))
	if n := s.countAll("wide"); n != partitions {
		t.Errorf("%d records are there, %d were written", n, partitions)
	}
	const idle = 3 * time.Second
	before := s.cpuTime()
	pause(t.Context(), idle)
	t.Logf("%.2f %% of a core when idle; %d MiB resident", 100*(s.cpuTime()-before).Seconds()/idle.Seconds(), s.memory("VmRSS")>>20)
	if peak := s.memory("VmHWM"); peak > maxPartitionsBytes && !invariants.Enabled {
		t.Errorf("%d bytes of resident memory", peak)
	}
	s.Kill()
	s.start()
	t.Logf("after kill -9: %s", firstLine(s.Stdout()))
}

// memory is a figure of /proc/PID/status, in bytes.
func (s *server) memory(name string) int64 {
	s.t.Helper()
	return s.procNumber("status", name) << 10
}

// procNumber is a number of a file of the process in /proc.
func (s *server) procNumber(file, name string) int64 {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.PID(), file))
	if err != nil {
		s.t.Skipf("what a process uses is known from /proc alone: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, name+":"); found {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return n
		}
	}
	s.t.Skipf("/proc/%d/%s has no %s", s.PID(), file, name)
	return 0
}

// cpuTime is the processor time that the process has used, user's and system's.
func (s *server) cpuTime() time.Duration {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name before may hold anything
	fields := strings.Fields(rest)
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime, the 14th and 15th of all
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			s.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // Linux counts 100 a second for programs
}
