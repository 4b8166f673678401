package interop

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fanfold/fanfold/interop/broker"
)

// program is one client library's program, as package driver describes it, or
// fanfold, which sends and rebuilds trees alone.
type program struct {
	name    string
	argv    []string
	reads   bool
	codecs  []string // that it can write single records with; none: it takes trees alone
	codec   string   // with which it writes trees
	fanfold bool

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
	java := []string{
		filepath.Join(jdk, "bin", "java"), "-Xmx256m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
		"-cp", in("java-classes") + ":" + in("java-lib", "*"), "Driver",
	}
	python := []string{in("venv", "bin", "python"), abs(t, "clients/python/driver.py")}
	all := []program{
		{name: "java", argv: java, reads: true, codecs: everyCodec, codec: "lz4"},
		{name: "librdkafka", argv: python, reads: true, codecs: everyCodec, codec: "zstd"},
		{name: "sarama", argv: []string{in("bin", "sarama")}, reads: true, codecs: everyCodec, codec: "snappy"},
		{name: "kafka-go", argv: []string{in("bin", "kafkago")}, reads: true, codecs: everyCodec, codec: "gzip", emptyIsNull: true},
		{name: "franz-go", argv: []string{in("bin", "franz")}, reads: true, codecs: everyCodec, codec: "none"},
		{name: "kafkajs", argv: []string{"node", in("js", "driver.mjs")}, codecs: []string{"none", "gzip", "snappy"}, codec: "none"},
	}
	if os.Getenv("FANFOLD_BIN") == "none" {
		return all
	}
	bin, err := fanfoldBinary()
	if err != nil {
		t.Fatal(err)
	}
	return append(all, program{name: "fanfold", argv: []string{bin}, reads: true, codec: "zstd", fanfold: true})
}

// recordPrograms are those that write, and mostly read, single records.
func recordPrograms(t *testing.T) []program {
	t.Helper()
	return slices.DeleteFunc(programs(t), func(p program) bool { return p.codecs == nil })
}

// command is the command line of a verb, with the flags of package driver.
func (p program) command(b *broker.Broker, verb string, flags []string) []string {
	argv := append(slices.Clone(p.argv), verb, "--brokers", b.Addr)
	if !p.fanfold {
		return append(argv, flags...)
	}
	argv = append(argv, "--quiet")
	for i := 0; i < len(flags); i += 2 {
		switch value := flags[i+1]; flags[i] {
		case "--topic":
			argv = append(argv, value)
		case "--codec":
			argv = append(argv, "--compression", value)
		case "--tree":
			argv = append(argv, "--tree", value)
		case "--out":
			argv = append(argv, "--rebuild", value)
		}
	}
	return argv
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
const programTime = 4 * time.Minute

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
	argv := p.command(b, verb, args)
	r := &process{name: p.name + " " + verb, cmd: exec.CommandContext(ctx, argv[0], argv[1:]...), done: make(chan error, 1)}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	// One that takes too long prints its stacks (Go, Java and Python do).
	r.cmd.Cancel = func() error { return r.cmd.Process.Signal(syscall.SIGQUIT) }
	r.cmd.WaitDelay = 3 * time.Second
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
