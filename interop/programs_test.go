package interop

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/interop/broker"
)

// program is one client library's program, as package driver describes it.
type program struct {
	name   string
	argv   []string
	reads  bool
	codecs []string // that the library can write
	codec  string   // with which it writes trees

	emptyIsNull bool // it cannot tell them apart when it reads
}

var everyCodec = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// programs are all clients, each with another codec for trees where possible.
func programs(t *testing.T) []program {
	t.Helper()
	jdk, err := jdk()
	if err != nil {
		t.Fatal(err)
	}
	in := func(parts ...string) string { return filepath.Join(append([]string{suite.work}, parts...)...) }
	classes := in("java-classes") + ":" + in("java-lib", "*")
	java := []string{
		filepath.Join(jdk, "bin", "java"), "-Xmx256m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
		"-cp", classes, "Driver",
	}
	return []program{
		{name: "java", argv: java, reads: true, codecs: everyCodec, codec: "lz4"},
		{name: "librdkafka", argv: []string{in("venv", "bin", "python"), abs(t, "clients/python/driver.py")}, reads: true, codecs: everyCodec, codec: "zstd"},
		{name: "sarama", argv: []string{in("bin", "sarama")}, reads: true, codecs: everyCodec, codec: "snappy"},
		{name: "kafka-go", argv: []string{in("bin", "kafkago")}, reads: true, codecs: everyCodec, codec: "gzip", emptyIsNull: true},
		{name: "franz-go", argv: []string{in("bin", "franz")}, reads: true, codecs: everyCodec, codec: "none"},
		{name: "kafkajs", argv: []string{"node", in("js", "driver.mjs")}, codecs: []string{"none", "gzip", "snappy"}, codec: "none"},
	}
}

func named(t *testing.T, name string) program {
	t.Helper()
	all := programs(t)
	i := slices.IndexFunc(all, func(p program) bool { return p.name == name })
	return all[i]
}

func abs(t *testing.T, path string) string {
	t.Helper()
	a, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// programTime is how long a program may run: far beyond what it needs.
const programTime = 8 * time.Minute

// process is a program that runs.
type process struct {
	name string
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan error
}

// start runs a verb of a program; the process does not outlive the test.
func (p program) start(t *testing.T, b *broker.Broker, verb string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), programTime)
	argv := append(slices.Clone(p.argv), verb, "--brokers", b.Addr)
	argv = append(argv, args...)
	r := &process{name: p.name + " " + verb, cmd: exec.CommandContext(ctx, argv[0], argv[1:]...), done: make(chan error, 1)}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		cancel()
		t.Fatalf("start %s: %v", p.name, err)
	}
	ended := make(chan struct{})
	go func() {
		r.done <- r.cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return r
}

// wait returns what the program printed.
func (r *process) wait() (string, error) {
	if err := <-r.done; err != nil {
		return r.out.String(), fmt.Errorf("%s: %w\n%s", r.name, err, r.out.String())
	}
	return r.out.String(), nil
}

// run runs a verb to its end.
func (p program) run(t *testing.T, b *broker.Broker, verb string, args ...string) {
	t.Helper()
	if _, err := p.start(t, b, verb, args...).wait(); err != nil {
		t.Fatal(err)
	}
}

// check runs the program's own checks, each as a subtest.
func (p program) check(t *testing.T, b *broker.Broker, scratch string) {
	t.Helper()
	out, err := p.start(t, b, "checks", "--scratch", scratch).wait()
	count := 0
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "ok "); ok {
			count++
			t.Run(name, func(*testing.T) {})
		} else if rest, ok := strings.CutPrefix(line, "FAIL "); ok {
			name, why, _ := strings.Cut(rest, ": ")
			t.Run(name, func(t *testing.T) { t.Errorf("%s: %s", p.name, why) })
		}
	}
	if err != nil || count == 0 {
		t.Errorf("%d checks passed: %v", count, err)
	}
}
