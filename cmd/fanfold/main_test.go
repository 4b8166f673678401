package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/fanfold/fanfold/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Main(main)
	goleak.VerifyTestMain(m)
}

// result is what a run of the program left.
type result struct {
	status         int
	stdout, stderr string
}

// newBroker starts a fake Kafka broker and makes it the default of the
// program.
func newBroker(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.DefaultNumPartitions(3), kfake.AllowAutoTopicCreation()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	t.Setenv("FANFOLD_BROKERS", strings.Join(cluster.ListenAddrs(), ","))
	return cluster
}

// fanfold runs the program with an input.
func fanfold(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), args, strings.NewReader(stdin), &stdout, &stderr)
	return result{status, stdout.String(), stderr.String()}
}

// succeed runs the program, which must exit with 0, and returns its output.
func succeed(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	r := fanfold(t, stdin, args...)
	if r.status != exitOK {
		t.Fatalf("fanfold %q: status %d, stderr %q", args, r.status, r.stderr)
	}
	return r.stdout
}

// fail runs the program, which must exit with a status and say a text in one
// line.
func fail(t *testing.T, status int, text string, stdin string, args ...string) {
	t.Helper()
	r := fanfold(t, stdin, args...)
	if r.status != status || !strings.Contains(r.stderr, text) {
		t.Errorf("fanfold %q: status %d, stderr %q; want status %d and %q", args, r.status, r.stderr, status, text)
	}
	if !strings.HasPrefix(r.stderr, "fanfold: ") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("fanfold %q: stderr %q is not one line of the program", args, r.stderr)
	}
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}

func want(t *testing.T, got string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(got, text) {
			t.Errorf("no %q in:\n%s", text, got)
		}
	}
}

func TestWrongUsageExitsWith2AndNamesTheFix(t *testing.T) {
	for _, c := range []struct {
		args string
		text string
	}{
		{"bogus", `there is no verb "bogus" in fanfold; see: fanfold --help`},
		{"topik list", "did you mean: fanfold topic"},
		{"topic lst", "did you mean: fanfold topic list"},
		{"topic bogus", "see: fanfold topic --help"},
		{"topic create", "an argument is missing; write: fanfold topic create NAME..."},
		{"topic create t --partition 3", "did you mean: --partitions"},
		{"topic create t --zzzzzz", "unknown flag: --zzzzzz; see: fanfold topic create --help"},
		{"topic create t -X", "unknown shorthand flag: 'X'"},
		{"topic create t -p many", "invalid argument"},
		{"topic create t -p 0", "--partitions must be at least 1"},
		{"topic create t -r -2", "--replicas must be at least 1"},
		{"topic create t -c retention.ms", "not of the form name=value"},
		{"topic create t -c retention.ms=soon", `"soon" is not a duration`},
		{"topic create t -c segment.bytes=big", `"big" is not a size`},
		{"topic create t -c a=1 -c a=2", "given twice"},
		{"topic list -o xml", "it is one of table, json"},
		{"topic list a b", "write: fanfold topic list [PATTERN]"},
		{"topic list [a", "a [ is not closed"},
		{"topic alter t", "nothing to change"},
		{"topic alter t -c a=1 --delete-config a", "both set and deleted"},
		{"topic alter t -p -3", "must be at least 1"},
		{"topic delete", "an argument is missing"},
		{"topic list --timeout 0s", "--timeout must be above 0"},
		{"topic list --timeout 5x", "is not a duration"},
		{"topic list --brokers ,", "empty address"},
		{"version extra", "fanfold version"},
		{"version --brokers x:1", "does not take --brokers"},
		{"completion", "an argument is missing"},
		{"completion tcsh", "completion bash|zsh|fish|powershell"},
		{"produce", "an argument is missing"},
		{"produce t u", "takes one TOPIC"},
		{"produce t -k a -K :", "--key and --key-delimiter exclude each other"},
		{"produce t --acks 2", "it is one of all, 1, 0, -1"},
		{"produce t --acks 1 --idempotent", "--idempotent needs --acks all"},
		{"produce t --max-inflight 2", "--max-inflight is for --idempotent=false"},
		{"produce t --max-inflight 0 --idempotent=false", "at least 1"},
		{"produce t -z brotli", "it is one of none, gzip"},
		{"produce t -p -1", "--partition must be 0 or more"},
		{"produce t -H novalue", "not of the form name=value"},
		{"produce t --timestamp yesterday", "no point in time"},
		{`produce t -D \q`, "--delimiter:"},
		{"produce t -D ", "--delimiter must not be empty"},
		{"produce t -f %o", "broker chooses offsets"},
		{"produce t -f %t:%s", "the topic is an argument"},
		{"produce t -f %k%s", "need text between them"},
		{"produce t --tree . --files x", "exclude each other"},
		{"produce t --batch-bytes 0", "is not between 1 byte and 2 GiB"},
		{"consume", "an argument is missing"},
		{"consume t --from nowhere", `"nowhere" is no position`},
		{"consume t --to 2026-13-01", "is no position"},
		{"consume t -n 0", "--count must be at least 1"},
		{"consume t -p -4", "--partition must be 0 or more"},
		{"consume t -f %q", "unknown token"},
		{`consume t -D \q`, "--delimiter:"},
		{"consume t -e --to 5", "exclude each other"},
		{"consume t -o json -f %s", "exclude each other"},
		{"consume t u --rebuild x", "--rebuild takes one topic"},
		{"consume t --isolation dirty", "it is one of read_committed, read_uncommitted"},
	} {
		fail(t, exitUsage, c.text, "", strings.Split(c.args, " ")...)
	}
}

func TestBrokerThatIsNotThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	dir := t.TempDir()
	for _, args := range [][]string{
		{"topic", "list"}, {"topic", "create", "t"}, {"topic", "describe", "t"}, {"topic", "alter", "t", "-p", "2"}, {"topic", "delete", "t"},
		{"produce", "t"}, {"consume", "t"}, {"consume", "t", "--rebuild", dir},
	} {
		fail(t, exitFailed, "no broker at "+address+": connection refused; is a broker running there? start one with: fanfold serve", "x\n", append(args, "--brokers", address)...)
	}
	fail(t, exitFailed, "no address known for the name no-such-host.invalid", "", "topic", "list", "-b", "no-such-host.invalid:9092")
}

func TestBrokerThatGivesNoAnswer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	fail(t, exitFailed, "gives no answer within 50ms", "", "topic", "list", "-b", listener.Addr().String(), "--timeout", "50ms")
}

func TestPortThatIsNoBroker(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
			conn.Close()
		}
	}()
	fail(t, exitFailed, "does not answer as a Kafka broker does", "", "topic", "list", "-b", listener.Addr().String())
	listener.Close()
	<-done
}

func TestHelpTeaches(t *testing.T) {
	for _, args := range []string{
		"", "topic", "topic create", "topic list", "topic describe", "topic alter", "topic delete", "produce", "consume",
		"group", "group list", "group describe", "group delete", "group reset-offsets", "group delete-offsets", "version", "completion",
	} {
		out := succeed(t, "", append(strings.Fields(args), "--help")...)
		want(t, out, "Usage:\n  fanfold", "Examples:\n  ")
		examples, _, _ := strings.Cut(out[strings.Index(out, "Examples:\n"):], "\n\n")
		if n := strings.Count(examples, "\n"); n < 3 {
			t.Errorf("fanfold %s: %d examples", args, n)
		}
		for line := range strings.Lines(out) {
			if strings.Contains(line, "\x1b") {
				t.Errorf("fanfold %s: colour where there is no terminal: %q", args, line)
			}
		}
	}
	want(t, succeed(t, ""), "Topics, records and groups", "produce", "Every verb explains itself")
	want(t, succeed(t, "", "help", "topic", "create"), "fanfold topic create NAME...")
	if strings.Contains(succeed(t, "", "version", "--help"), "--brokers") {
		t.Error("version shows the client flags")
	}
}

func TestVersion(t *testing.T) {
	v := decode[versionInfo](t, succeed(t, "", "version", "-o", "json"))
	if v.Version == "" || !strings.HasPrefix(v.Go, "go1.") || !strings.Contains(v.Platform, "/") {
		t.Errorf("%+v", v)
	}
	want(t, succeed(t, "", "version"), "fanfold   ", "platform  ")
	want(t, succeed(t, "", "--version"), "fanfold "+v.Version)
}

func TestCompletion(t *testing.T) {
	for shell, text := range map[string]string{"bash": "__start_fanfold", "zsh": "#compdef fanfold", "fish": "complete -c fanfold", "powershell": "Register-ArgumentCompleter"} {
		want(t, succeed(t, "", "completion", shell), text)
	}
	newBroker(t, kfake.SeedTopics(1, "orders", "clicks"))
	want(t, succeed(t, "", "__complete", "consume", ""), "orders\n", "clicks\n")
	if out := succeed(t, "", "__complete", "topic", "describe", "orders", ""); strings.Contains(out, "orders") {
		t.Errorf("offers what is there already: %q", out)
	}
	want(t, succeed(t, "", "__complete", "topic", "create", "x", "-c", "reten"), "retention.ms=")
	want(t, succeed(t, "", "__complete", "produce", "t", "-z", ""), "zstd")
	if r := fanfold(t, "", "__complete", "consume", "--brokers", "127.0.0.1:1", ""); r.status != exitOK || strings.Contains(r.stdout, "orders") {
		t.Errorf("without a broker: %+v", r)
	}
}

func TestOutputThatIsClosedEndsQuietly(t *testing.T) {
	newBroker(t)
	succeed(t, strings.Repeat("line\n", 5000), "produce", "t")
	for _, args := range [][]string{{"consume", "t", "-e"}, {"consume", "t", "-e", "-o", "json"}, {"consume", "t"}, {"topic", "list"}, {"version"}} {
		reader, writer := io.Pipe()
		reader.Close()
		var stderr bytes.Buffer
		if status := run(t.Context(), args, strings.NewReader(""), writer, &stderr); status != exitOK || stderr.Len() > 0 {
			t.Errorf("fanfold %q: status %d, stderr %q", args, status, stderr.String())
		}
	}
}

func TestInterruptBeforeTheFirstAnswer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if conn, err := listener.Accept(); err == nil {
			cancel()
			conn.Close()
		}
	}()
	var stderr bytes.Buffer
	if status := run(ctx, []string{"topic", "list", "-b", listener.Addr().String()}, strings.NewReader(""), io.Discard, &stderr); status != exitFailed || stderr.String() != "fanfold: interrupted\n" {
		t.Errorf("status %d, stderr %q", status, stderr.String())
	}
}
