package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fanfold/fanfold/interop/broker"
	"github.com/fanfold/fanfold/interop/group"
	"github.com/twmb/franz-go/pkg/kgo"
)

// groupStep is how long a step of a scenario may take: far beyond what it needs.
const groupStep = time.Minute

// groupRun is a group, its members and what they have printed.
type groupRun struct {
	scenario
	t     *testing.T
	b     *broker.Broker
	name  string
	topic string

	feed    *feeder
	judge   *group.Judge
	log     *group.Log
	events  *os.File // where the members append
	history []group.Event
	members [4]*groupMember
}

// groupMember is a member's process.
type groupMember struct {
	process *process
	cancel  context.CancelFunc // ends it with its stacks in stderr
	stdin   io.WriteCloser
	stderr  bytes.Buffer
	ended   bool
}

// newGroup creates the topic and begins to write.
func newGroup(t *testing.T, b *broker.Broker, name string, s scenario) *groupRun {
	t.Helper()
	g := &groupRun{scenario: s, t: t, b: b, name: name, judge: group.NewJudge(groupPartitions)}
	g.topic = newTopic(t, b, name, groupPartitions)
	path := filepath.Join(t.TempDir(), "events")
	var err error
	if g.events, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.events.Close() })
	if g.log, err = group.OpenLog(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.log.Close() })
	if slices.ContainsFunc(s.members[:], func(m memberKind) bool { return m.protocol == "consumer" }) {
		g.configure()
	}
	g.feed = startFeeder(t, b, g.topic)
	return g
}

// start starts the member with that index.
func (g *groupRun) start(i int) {
	g.t.Helper()
	kind := g.scenario.members[i]
	p := named(g.t, kind.client)
	argv := p.command(g.b, "member", []string{
		"--topic", g.topic, "--group", g.name, "--name", memberName(i), "--protocol", kind.protocol,
		"--session", millis(groupSession), "--heartbeat", millis(groupHeartbeat),
	})
	if p.name == "java" {
		argv = slices.Insert(argv, 1, "-XX:TieredStopAtLevel=1") // it lives for seconds
	}
	ctx, cancel := context.WithTimeout(context.Background(), programTime)
	m := &groupMember{process: &process{name: memberName(i) + " (" + p.name + ")", done: make(chan error, 1)}, cancel: cancel}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = g.events, &m.stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) }
	cmd.WaitDelay = 3 * time.Second
	var err error
	if m.stdin, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		g.t.Fatalf("start %s: %v", p.name, err)
	}
	m.process.cmd = cmd
	ended := make(chan struct{})
	go func() {
		m.process.done <- cmd.Wait()
		close(ended)
	}()
	g.t.Cleanup(func() {
		cancel()
		<-ended
	})
	g.members[i] = m
}

func memberName(i int) string { return "m" + strconv.Itoa(i+1) }

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// ask writes a line to a member's standard input.
func (g *groupRun) ask(i int, line string) {
	g.t.Helper()
	if _, err := io.WriteString(g.members[i].stdin, line+"\n"); err != nil {
		g.fatalf("ask %s to %s: %v", g.members[i].process.name, line, err)
	}
}

// kill ends a member as kill -9 does.
func (g *groupRun) kill(i int) {
	g.t.Helper()
	m := g.members[i]
	if err := m.process.cmd.Process.Kill(); err != nil {
		g.fatalf("kill %s: %v", m.process.name, err)
	}
	<-m.process.done
	m.ended = true
	if _, err := g.events.Write(group.Event{Event: group.Killed, Member: memberName(i)}.Line()); err != nil {
		g.fatalf("note the kill: %v", err)
	}
}

// leave tells members to leave and waits until they have ended.
func (g *groupRun) leave(members ...int) {
	g.t.Helper()
	for _, i := range members {
		g.members[i].stdin.Close()
	}
	for _, i := range members {
		m := g.members[i]
		select {
		case err := <-m.process.done:
			m.ended = true
			if err != nil {
				g.fatalf("%s: %v", m.process.name, err)
			}
		case <-time.After(groupStep):
			g.fatalf("%s has not left within %v", m.process.name, groupStep)
		}
		g.until(memberName(i)+" has left", func() bool { return g.judge.HasLeft(memberName(i)) })
	}
}

// until reads what the members print until it is so, and fails the test where
// a member ends before, or where something happens that must not.
func (g *groupRun) until(what string, so func() bool) {
	g.t.Helper()
	deadline := time.After(groupStep)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		events, err := g.log.Read()
		for _, e := range events {
			g.history = append(g.history, e)
			err = errors.Join(err, g.judge.Add(e))
		}
		if err != nil {
			g.fatalf("before %s: %v", what, err)
		}
		if so() {
			return
		}
		for _, m := range g.members {
			g.stillThere(m, what)
		}
		select {
		case <-tick.C:
		case <-deadline:
			g.fatalf("it does not happen that %s; owners %v, handled %v", what, g.judge.Owners(), g.judge.Ends())
		}
	}
}

func (g *groupRun) stillThere(m *groupMember, what string) {
	g.t.Helper()
	if m == nil || m.ended {
		return
	}
	select {
	case err := <-m.process.done:
		m.ended = true
		g.fatalf("%s ended before %s: %v", m.process.name, what, err)
	default:
	}
}

// fatalf fails with all that happened but the records, and what the members
// wrote to standard error.
func (g *groupRun) fatalf(format string, args ...any) {
	g.t.Helper()
	var story strings.Builder
	records := 0
	for _, e := range g.history {
		if e.Event == group.Handled {
			records++
			continue
		}
		if records > 0 {
			fmt.Fprintf(&story, "  (%d records)\n", records)
			records = 0
		}
		fmt.Fprintf(&story, "  %s", e.Line())
	}
	for _, m := range g.members {
		if m != nil {
			m.cancel()
		}
	}
	for _, m := range g.members {
		if m == nil {
			continue
		}
		if !m.ended { // only then is its output complete
			<-m.process.done
			m.ended = true
		}
		fmt.Fprintf(&story, "standard error of %s:\n%s", m.process.name, m.stderr.String())
	}
	g.t.Fatalf(format+"\nwhat happened:\n"+story.String()+"the broker's log ends:\n"+g.b.LogTail(), args...)
}

// feeder writes numbered records: record n to partition n modulo the number
// of partitions.
type feeder struct {
	t      *testing.T
	cl     *kgo.Client
	topic  string
	number int64
	cancel context.CancelFunc
	done   chan error
}

// startFeeder writes the backlog, and then goes on until it is stopped.
func startFeeder(t *testing.T, b *broker.Broker, topic string) *feeder {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &feeder{
		t: t, cl: client(t, b, kgo.RecordPartitioner(kgo.ManualPartitioner())), topic: topic, cancel: cancel, done: make(chan error, 1),
	}
	if err := f.write(ctx, groupBacklog); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		f.done <- f.run(ctx)
		close(f.done)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-f.done; err != nil {
			t.Errorf("write records: %v", err)
		}
	})
	return f
}

// run writes some 500 records a second.
func (f *feeder) run(ctx context.Context) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := f.write(context.WithoutCancel(ctx), 2*groupPartitions); err != nil {
				return err
			}
		}
	}
}

func (f *feeder) write(ctx context.Context, count int) error {
	records := make([]*kgo.Record, count)
	for i := range records {
		records[i] = &kgo.Record{
			Topic: f.topic, Partition: int32(f.number % groupPartitions), Value: strconv.AppendInt(nil, f.number, 10),
		}
		f.number++
	}
	return f.cl.ProduceSync(ctx, records...).FirstErr()
}

// stop returns the ends of the partitions.
func (f *feeder) stop() []int64 {
	f.t.Helper()
	f.cancel()
	if err := <-f.done; err != nil {
		f.t.Fatalf("write records: %v", err)
	}
	ends := make([]int64, groupPartitions)
	for p := range ends {
		ends[p] = (f.number + groupPartitions - 1 - int64(p)) / groupPartitions
	}
	return ends
}

// client is a franz-go client of the test's own.
func client(t *testing.T, b *broker.Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addr)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}
