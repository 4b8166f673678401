package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumed are the records of a topic of one partition.
func consumed(t *testing.T, topic string) []jsonRecord {
	t.Helper()
	var records []jsonRecord
	for line := range strings.Lines(succeed(t, "", "consume", topic, "-e", "-o", "json")) {
		records = append(records, decode[jsonRecord](t, line))
	}
	return records
}

func text(s *string) string {
	if s == nil {
		return "<null>"
	}
	return *s
}

func TestProduceInput(t *testing.T) {
	newBroker(t, kfake.DefaultNumPartitions(1))
	for i, c := range []struct {
		stdin string
		args  string
		want  string // key=value of each record
	}{
		{"a\nb\n", "", "<null>=a|<null>=b"},
		{"a\n\nb", "", "<null>=a|<null>=|<null>=b"},
		{"", "", ""},
		{"a\r\n", "", "<null>=a\r"},
		{"a\x00b\x00", `-D \0`, "<null>=a|<null>=b"},
		{"a<>b<>", `-D <>`, "<null>=a|<null>=b"},
		{"k:v:w\nx\n:e\n", "-K :", "k=v:w|<null>=x|=e"},
		{"k=>v\n", "-K =>", "k=v"},
		{"a\nb\n", "-k key", "key=a|key=b"},
		{"a\n\n", "-Z", "<null>=a|<null>=<null>"},
		{"k:\n:v\n", "-K : -Z", "k=<null>|<null>=v"},
		{"k\tv\n", `-f %k\t%s\n`, "k=v"},
		{"1,k\x00\x00\x00\x03a\nb-1,\xff\xff\xff\xff", `-f %K,%k%R%s`, "k=a\nb|<null>=<null>"},
	} {
		topic := fmt.Sprintf("t%d", i)
		succeed(t, c.stdin, append([]string{"produce", topic, "-q"}, strings.Fields(c.args)...)...)
		var got []string
		for _, r := range consumed(t, topic) {
			got = append(got, text(r.Key)+"="+text(r.Value))
		}
		if g := strings.Join(got, "|"); g != c.want {
			t.Errorf("%q with %q gives %q, want %q", c.stdin, c.args, g, c.want)
		}
	}
}

func TestProduceHeadersTimestampPartition(t *testing.T) {
	newBroker(t)
	succeed(t, "v\n", "produce", "t", "-H", "a=1", "-H", "b=", "--timestamp", "2026-01-31T12:00:00Z", "-p", "2", "-z", "zstd")
	r := consumed(t, "t")[0]
	if r.Partition != 2 || r.Timestamp != 1769860800000 || len(r.Headers) != 2 || r.Headers[0].Key != "a" || text(r.Headers[0].Value) != "1" {
		t.Errorf("%+v", r)
	}
	succeed(t, "1 1700000000000 x=y v\n", "produce", "u", "-f", `%p %T %h %s\n`)
	r = consumed(t, "u")[0]
	if r.Partition != 1 || r.Timestamp != 1700000000000 || r.Headers[0].Key != "x" || text(r.Value) != "v" {
		t.Errorf("%+v", r)
	}
	fail(t, exitFailed, `topic "t" has 3 partitions, numbered from 0, and no partition 3`, "v\n", "produce", "t", "-p", "3")
	fail(t, exitFailed, "record 1: %p: strconv", "x v\n", "produce", "t", "-q", "-f", `%p %s\n`)
	if r := fanfold(t, "9 v\n", "produce", "t", "-q", "-f", `%p %s\n`); r.status != exitFailed || !strings.Contains(r.stderr, "record 1:") {
		t.Errorf("%+v", r)
	}
}

func TestProduceOptionsOfTheProducer(t *testing.T) {
	newBroker(t)
	for _, args := range []string{"--acks all", "--acks -1", "--acks 1", "--acks 0", "--idempotent=false --max-inflight 3", "--linger 0s", "--batch-bytes 10KiB", "-z gzip", "-z snappy", "-z lz4"} {
		topic := "t" + strings.Map(func(r rune) rune {
			if strings.ContainsRune(" =.", r) {
				return '-'
			}
			return r
		}, args)
		out := fanfold(t, strings.Repeat("line\n", 300), append([]string{"produce", topic, "-v"}, strings.Fields(args)...)...)
		if out.status != exitOK || !strings.Contains(out.stderr, "300 records (1.2 KiB)") || !strings.Contains(out.stderr, "LAST OFFSET") {
			t.Errorf("%s: %+v", args, out)
		}
		if args != "--acks 0" && len(consumed(t, topic)) != 300 {
			t.Errorf("%s: not all arrived", args)
		}
	}
}

func TestProduceSummary(t *testing.T) {
	newBroker(t)
	s := decode[produceSummary](t, succeed(t, "ab\ncde\n", "produce", "t", "-p", "1", "-o", "json"))
	if s.Topic != "t" || s.Records != 2 || s.Bytes != 5 || s.Failed != 0 || !s.Acknowledged || s.Files != nil || s.Error != "" ||
		len(s.Partitions) != 1 || s.Partitions[0] != (sentPartition{1, 2, 5, 0, 1}) {
		t.Errorf("%+v", s)
	}
	if r := fanfold(t, "a\n", "produce", "t", "-q"); r.stderr != "" || r.stdout != "" {
		t.Errorf("-q says %+v", r)
	}
}

func TestProduceToATopicThatIsMissing(t *testing.T) {
	newBroker(t)
	fail(t, exitFailed, `topic "t" does not exist; create it with: fanfold topic create t`, "a\n", "produce", "t", "--auto-create=false")
}

func TestProduceLineThatIsTooLong(t *testing.T) {
	newBroker(t)
	succeed(t, "", "topic", "create", "t", "-p", "1", "-c", "max.message.bytes=64KiB")
	fits, long := strings.Repeat("x", 60<<10), strings.Repeat("y", 70<<10)
	fail(t, exitFailed, `line 3: longer than the limit; topic "t" takes 65536 bytes at most; raise it with: fanfold topic alter t -c max.message.bytes=SIZE`,
		"a\n"+fits+"\n"+long+"\nb\n", "produce", "t", "-q")
	if got := consumed(t, "t"); len(got) != 2 {
		t.Errorf("%d records arrived before the long one, want 2", len(got))
	}
	// With its key and headers a record is larger than its line.
	fail(t, exitFailed, "line 2: 67.", "a\n"+strings.Repeat("z", 65500)+"\n", "produce", "t", "-q", "-k", strings.Repeat("k", 4000))
	succeed(t, "", "topic", "alter", "t", "-c", "max.message.bytes=1MiB")
	succeed(t, long, "produce", "t", "-q")
}

// failProduce makes the broker answer produce requests with an error.
func failProduce(cluster *kfake.Cluster, code int16) {
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, rt := range req.(*kmsg.ProduceRequest).Topics {
			st := kmsg.NewProduceResponseTopic()
			st.Topic, st.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				sp := kmsg.NewProduceResponseTopicPartition()
				sp.Partition, sp.ErrorCode = rp.Partition, code
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
}

func TestProduceThatIsRefused(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	failProduce(cluster, kerr.TopicAuthorizationFailed.Code)
	fail(t, exitFailed, "3 records not acknowledged, the first: line 1: ", "a\nb\nc\n", "produce", "t", "-q")
	r := fanfold(t, "a\nb\n", "produce", "t", "-o", "json")
	s := decode[produceSummary](t, r.stdout)
	if r.status != exitFailed || s.Records != 0 || s.Failed != 2 || !strings.Contains(s.Error, "TOPIC_AUTHORIZATION_FAILED") {
		t.Errorf("%+v, %+v", r, s)
	}
}

func TestProduceToABrokerThatGoesAway(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	reader, writer := io.Pipe()
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		go cluster.Close()
		return nil, fmt.Errorf("gone"), true
	})
	go func() {
		_, _ = io.WriteString(writer, "a\nb\n")
		writer.Close()
	}()
	var stderr bytes.Buffer
	status := run(t.Context(), []string{"produce", "t", "-q", "--timeout", "300ms"}, reader, io.Discard, &stderr)
	if status != exitFailed || !strings.Contains(stderr.String(), "2 records not acknowledged, the first: line 1: ") {
		t.Errorf("status %d, stderr %q", status, stderr.String())
	}
}

func TestProduceInterrupted(t *testing.T) {
	newBroker(t, kfake.SeedTopics(1, "t"))
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	go func() {
		_, _ = io.WriteString(writer, "a\nb\n") // returns once both were read
		for len(consumedQuietly("t")) < 2 {
			if ctx.Err() != nil {
				return
			}
		}
		cancel()
	}()
	var stderr bytes.Buffer
	status := run(ctx, []string{"produce", "t"}, reader, io.Discard, &stderr)
	writer.Close()
	if status != exitFailed || !strings.Contains(stderr.String(), "acknowledged 2 records") || !strings.HasSuffix(stderr.String(), "fanfold: interrupted\n") {
		t.Errorf("status %d, stderr %q", status, stderr.String())
	}
}

// consumedQuietly are the lines of a topic so far.
func consumedQuietly(topic string) []string {
	var out bytes.Buffer
	run(context.Background(), []string{"consume", topic, "-e"}, strings.NewReader(""), &out, io.Discard)
	return strings.Fields(out.String())
}

// treeContents are the files that are hard to get right.
var treeContents = map[string]string{
	"empty":             "",
	"newline":           "\n",
	"plain.txt":         "a\nb\n",
	"no final newline":  "a\nb",
	"crlf.txt":          "a\r\nb\r\n",
	"dir/nul":           "a\x00b\n\x00",
	"dir/sub/invalid":   "\xff\xfe\n\xc3\x28",
	"dir/sub/long":      strings.Repeat("x", 900<<10) + "\ny",
	"dir/sub/été 日本.go": "package x\n",
	"dir/many":          strings.Repeat("line\n", 20000),
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func sameFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	count := 0
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		count++
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if want, ok := files[filepath.ToSlash(name)]; !ok || string(content) != want {
			t.Errorf("%s has %d bytes, want %d", name, len(content), len(want))
		}
		return err
	})
	if err != nil || count != len(files) {
		t.Errorf("%d files, want %d; %v", count, len(files), err)
	}
}

func TestTreeRoundTrip(t *testing.T) {
	newBroker(t, kfake.SeedTopics(8, "src"))
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "new")
	writeFiles(t, from, treeContents)
	s := decode[produceSummary](t, succeed(t, "", "produce", "src", "--tree", from, "-z", "lz4", "-o", "json"))
	lines := 0
	for _, content := range treeContents {
		lines += 1 + strings.Count(content, "\n")
	}
	if s.Files == nil || *s.Files != len(treeContents) || s.Records != int64(lines) {
		t.Errorf("%+v, want %d records", s, lines)
	}
	r := fanfold(t, "", "consume", "src", "--rebuild", to)
	if r.status != exitOK || !strings.Contains(r.stderr, fmt.Sprintf("rebuilt %d files", len(treeContents))) {
		t.Fatalf("%+v", r)
	}
	sameFiles(t, to, treeContents)
	fail(t, exitFailed, "is not empty; name a new directory", "", "consume", "src", "--rebuild", to)

	// Sent again, the files are the same, not twice as long.
	succeed(t, "", "produce", "src", "--tree", from, "-q")
	sum := decode[rebuildSummary](t, succeed(t, "", "consume", "src", "--rebuild", to+"2", "-o", "json"))
	if sum.Files != len(treeContents) || sum.Records != int64(2*lines) {
		t.Errorf("%+v", sum)
	}
	sameFiles(t, to+"2", treeContents)
}

func TestProduceFiles(t *testing.T) {
	newBroker(t, kfake.SeedTopics(2, "t"))
	dir := t.TempDir()
	t.Chdir(dir)
	files := map[string]string{"a": "1\n2\n", "d/b": "3", "c": ""}
	writeFiles(t, dir, files)
	succeed(t, "", "produce", "t", "--files", "a", "./d/b", "c", "-q")
	to := filepath.Join(t.TempDir(), "new")
	succeed(t, "", "consume", "t", "--rebuild", to)
	sameFiles(t, to, files)
	fail(t, exitFailed, "no such file", "", "produce", "t", "-q", "--files", "missing")
	fail(t, exitFailed, "no such file", "", "produce", "t", "-q", "--tree", "missing")
	if err := os.WriteFile("long", bytes.Repeat([]byte("x"), 2<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	fail(t, exitFailed, "long, line 1: longer than the limit", "", "produce", "t", "-q", "--files", "long")
}

func TestRebuildRefusesPathsThatLeave(t *testing.T) {
	newBroker(t, kfake.SeedTopics(1, "t", "u"))
	parent := t.TempDir()
	succeed(t, "evil\n", "produce", "t", "-k", "../outside", "-q")
	fail(t, exitFailed, `partition 0, offset 0: key "../outside" is not the path of a file below the directory`, "", "consume", "t", "--rebuild", filepath.Join(parent, "inside"))
	if _, err := os.Stat(filepath.Join(parent, "outside")); err == nil {
		t.Error("wrote outside of the directory")
	}
	succeed(t, "x\n", "produce", "u", "-q")
	fail(t, exitFailed, "no key, which would be the path of a file", "", "consume", "u", "--rebuild", filepath.Join(parent, "other"))
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"2026-01-31T12:00:00Z": time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
		"2026-01-31":           time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC),
		"2026-01-31 08:30":     time.Date(2026, 1, 31, 8, 30, 0, 0, time.UTC),
		"@1700000000123":       time.UnixMilli(1700000000123),
		"-1h":                  now.Add(-time.Hour),
		"-7d":                  now.Add(-7 * 24 * time.Hour),
		"+5m":                  now.Add(5 * time.Minute),
		"now":                  now,
		"@2026-01-31":          time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC),
	} {
		if got, err := parseTime(in, now); err != nil || !got.Equal(want) {
			t.Errorf("parseTime(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "@", "-", "1700000000", "2026-02-30", "-1x", "yesterday"} {
		if got, err := parseTime(in, now); err == nil {
			t.Errorf("parseTime(%q) = %v, want an error", in, got)
		}
	}
}
