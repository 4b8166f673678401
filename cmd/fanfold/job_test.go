package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// The longest line of Go's sources, in time/tzdata, has more than a MiB.
const (
	jobPartitions = 8
	jobMaxBytes   = "4194304"
)

// TestGoSourceTreeThroughTheBroker sends a part of Go's own source tree through
// a broker process, every line a record, and builds the files again from what
// is read. FANFOLD_FULL_TREE=1 sends the whole tree, about two million lines.
func TestGoSourceTreeThroughTheBroker(t *testing.T) {
	tree, batch := goSource(t)
	lines := countRecords(t, tree)
	t.Run("in one go", func(t *testing.T) {
		s := newServer(t)
		s.start()
		s.createTopic("src", jobPartitions, "max.message.bytes", jobMaxBytes)
		s.produceTree(t, tree, lines)
		s.rebuildTree(t, tree)
	})
	t.Run("killed half-way", func(t *testing.T) {
		s := newServer(t)
		s.start()
		s.createTopic("src", jobPartitions, "max.message.bytes", jobMaxBytes)
		following, stopFollowing := context.WithTimeout(t.Context(), 5*time.Minute)
		defer stopFollowing()
		done, read := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			if !s.produceTree(t, tree, lines, "--batch-bytes", batch, "--linger", "1ms") {
				stopFollowing()
			}
		}()
		go func() {
			defer close(read)
			s.followRecords(following, t, lines)
		}()
		for part := int64(1); part <= 2; part++ {
			if !s.awaitRecords("src", lines*part/3, done) {
				t.Errorf("the producer ended before %d of %d records were there", lines*part/3, lines)
				break
			}
			s.Kill()
			s.start()
		}
		<-done
		<-read
		s.rebuildTree(t, tree)
	})
}

// followRecords reads so many records as they come by the program's own verb:
// of each partition all in order, each once.
func (s *server) followRecords(ctx context.Context, t *testing.T, records int64) {
	args := []string{"consume", "src", "-n", fmt.Sprint(records), "-q", "-f", `%p %o\n`, "--brokers", s.address}
	var out, complaints bytes.Buffer
	if status := run(ctx, args, strings.NewReader(""), &out, &complaints); status != exitOK {
		t.Errorf("fanfold %q: status %d: %s", args, status, complaints.String())
		return
	}
	next := map[int]int64{}
	var got int64
	for line := range strings.Lines(out.String()) {
		var partition int
		var offset int64
		if _, err := fmt.Sscan(line, &partition, &offset); err != nil || offset != next[partition] {
			t.Errorf("consumed %q, %v; offset %d comes next", line, err, next[partition])
			return
		}
		next[partition]++
		got++
	}
	if got != records {
		t.Errorf("%d of %d records were consumed", got, records)
	}
}

// goSource is the tree to send, and the size of batches where it is killed.
func goSource(t *testing.T) (tree, batchBytes string) {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Skipf("Go's own sources are the input, and go env GOROOT gives: %v", err)
	}
	src := filepath.Join(strings.TrimSpace(string(out)), "src")
	// Small batches give a broker that is killed something to be killed in, but
	// the longest line must fit.
	batchBytes = jobMaxBytes
	if os.Getenv("FANFOLD_FULL_TREE") == "" {
		src, batchBytes = filepath.Join(src, "encoding"), "8192"
	}
	if _, err := os.Stat(src); err != nil {
		t.Skipf("this Go comes without its sources: %v", err)
	}
	return src, batchBytes
}

// produceTree sends a tree by the program's own verb, which must succeed.
func (s *server) produceTree(t *testing.T, tree string, records int64, flags ...string) bool {
	var out, complaints bytes.Buffer
	began := time.Now()
	args := append([]string{"produce", "src", "--tree", tree, "--brokers", s.address, "-o", "json"}, flags...)
	if status := run(t.Context(), args, strings.NewReader(""), &out, &complaints); status != exitOK {
		t.Errorf("fanfold %q: status %d: %s", args, status, complaints.String())
		return false
	}
	summary := decode[produceSummary](t, out.String())
	if summary.Records != records || summary.Failed != 0 {
		t.Errorf("%d records of %d were acknowledged, %d failed", summary.Records, records, summary.Failed)
	}
	t.Logf("%d records, %d bytes, %d files in %d ms", summary.Records, summary.Bytes, *summary.Files, time.Since(began).Milliseconds())
	return !t.Failed()
}

// rebuildTree reads the topic into files, which must be those of the tree.
func (s *server) rebuildTree(t *testing.T, tree string) {
	t.Helper()
	began := time.Now()
	out := filepath.Join(s.root, "rebuilt")
	succeed(t, "", "consume", "src", "--rebuild", out, "--brokers", s.address)
	t.Logf("rebuilt in %d ms", time.Since(began).Milliseconds())
	sameTrees(t, tree, out)
}

// awaitRecords waits until so many records are in a topic. It returns false if
// done is closed before.
func (s *server) awaitRecords(topic string, records int64, done <-chan struct{}) bool {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c, err := s.newClient()
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	for pause(ctx, 5*time.Millisecond) {
		select {
		case <-done:
			return false
		default:
		}
		ends, err := endOffsets(ctx, admin, topic)
		if err != nil {
			s.t.Fatalf("list the ends of %s: %v", topic, err)
		}
		var sum int64
		for _, end := range ends {
			sum += end
		}
		if sum >= records {
			return true
		}
	}
	s.t.Fatalf("there are not %d records in %s after minutes", records, topic)
	return false
}

// countRecords is how many records a tree is: its lines, and what follows the
// last newline of each file.
func countRecords(t *testing.T, tree string) (records int64) {
	t.Helper()
	eachFile(t, tree, func(_ string, content []byte) { records += int64(bytes.Count(content, []byte("\n"))) + 1 })
	return records
}

// sameTrees compares two trees' files byte for byte.
func sameTrees(t *testing.T, want, got string) {
	t.Helper()
	files, wrong := 0, 0
	complain := func(format string, args ...any) {
		if wrong++; wrong <= 10 {
			t.Errorf(format, args...)
		}
	}
	eachFile(t, want, func(path string, content []byte) {
		files++
		rebuilt, err := os.ReadFile(filepath.Join(got, path))
		if err != nil {
			complain("%v", err)
		} else if !bytes.Equal(content, rebuilt) {
			complain("%s: %s", path, firstDifference(content, rebuilt))
		}
	})
	rebuilt := 0
	eachFile(t, got, func(string, []byte) { rebuilt++ })
	if files == 0 || rebuilt != files || wrong > 0 {
		t.Errorf("%d of %d files are wrong; %d were rebuilt", wrong, files, rebuilt)
	}
}

func firstDifference(want, got []byte) string {
	n := 0
	for n < min(len(want), len(got)) && want[n] == got[n] {
		n++
	}
	return fmt.Sprintf("%d bytes, rebuilt %d; they differ at byte %d, line %d", len(want), len(got), n, bytes.Count(want[:n], []byte("\n"))+1)
}

// eachFile calls f for the regular files of a tree.
func eachFile(t *testing.T, tree string, f func(path string, content []byte)) {
	t.Helper()
	err := filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(tree, path)
		if err == nil {
			f(relative, content)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
