package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// awaitWithin is how long a test waits for what must come.
const awaitWithin = 30 * time.Second

// await polls until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), awaitWithin)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", awaitWithin, what)
		}
	}
}

// awaitGroup waits until a group is there and is as wanted.
func awaitGroup(t *testing.T, name string, holds func(groupState) bool) {
	t.Helper()
	last := ""
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("group %s was last %s", name, last)
		}
	})
	await(t, "group "+name, func() bool {
		r := fanfold(t, "", "group", "describe", name, "-o", "json", "--no-time-lag")
		last = r.stdout + r.stderr
		return r.status == exitOK && holds(decode[[]groupState](t, r.stdout)[0])
	})
}

// output is what a program in the background has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// startProgramInside runs the program on goroutines of this process. stop
// interrupts it and waits; the status must then be 0.
func startProgramInside(t *testing.T, stdout io.Writer, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var stderr output
	status := make(chan int, 1)
	go func() { status <- run(ctx, args, strings.NewReader(""), stdout, &stderr) }()
	return sync.OnceFunc(func() {
		cancel()
		if s := <-status; s != exitOK || stderr.String() != "" {
			t.Errorf("fanfold %q: status %d, stderr %q", args, s, stderr.String())
		}
	})
}

// startMember is startProgramInside where the output does not matter.
func startMember(t *testing.T, args ...string) (stop func()) {
	t.Helper()
	return startProgramInside(t, io.Discard, args...)
}

func TestConsumeGroupGoesOnWhereItWas(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	seed(t, cluster, numbered("t", 0, 10)...)
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			read := func(args ...string) string {
				return succeed(t, "", append([]string{"consume", "t", "-D", "", "--group", protocol, "--group-protocol", protocol}, args...)...)
			}
			for _, c := range []struct{ args, want string }{
				{"-n 4", "0123"},
				{"--to 6", "45"},
				{"--to 3", ""},
				{"-e --from 9", "6789"},
				{"-e", ""},
			} {
				if got := read(strings.Fields(c.args)...); got != c.want {
					t.Errorf("consume %s gives %q, want %q", c.args, got, c.want)
				}
			}
			if g := describeOne(t, protocol); len(g.Members) != 0 || g.Lag != 0 || *g.Partitions[0].Committed != 10 {
				t.Errorf("%+v", g)
			}
		})
	}
	for name, c := range map[string]struct{ from, want string }{
		"from-end": {"end", ""}, "from-offset": {"7", "789"}, "from-last": {"-2", "89"}, "from-time": {"@1700000008500", "9"}, "from-start": {"beginning", "0123456789"},
	} {
		if got := succeed(t, "", "consume", "t", "-D", "", "-e", "--group", name, "--from", c.from); got != c.want {
			t.Errorf("--from %s gives %q, want %q", c.from, got, c.want)
		}
	}
}

// TestConsumeGroupShares has members come and go: each record is written once,
// as none of them crashes.
func TestConsumeGroupShares(t *testing.T) {
	const partitions, each = 4, 50
	for _, flags := range []string{
		"--group-protocol classic", "--group-protocol classic --assignor cooperative-sticky", "--group-protocol consumer", "--group-protocol consumer --assignor range",
	} {
		t.Run(strings.ReplaceAll(flags, "--", ""), func(t *testing.T) {
			t.Parallel()
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "t"))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			args := append([]string{"consume", "t", "--group", "g", "--brokers", strings.Join(cluster.ListenAddrs(), ",")}, strings.Fields(flags)...)
			batch := func(name string) {
				for p := range int32(partitions) {
					var records []*kgo.Record
					for i := range each {
						records = append(records, &kgo.Record{Topic: "t", Partition: p, Value: fmt.Appendf(nil, "%s %d %d", name, p, i)})
					}
					seed(t, cluster, records...)
				}
			}
			var outputs []*output
			member := func() (stop func()) {
				out := &output{}
				outputs = append(outputs, out)
				return startProgramInside(t, out, args...)
			}
			written := func(name string) bool {
				lines := map[string]int{}
				for _, out := range outputs {
					for line := range strings.Lines(out.String()) {
						lines[line]++
						if lines[line] > 1 {
							t.Fatalf("%q was written %d times", line, lines[line])
						}
					}
				}
				n := 0
				for line := range lines {
					if strings.HasPrefix(line, name) {
						n++
					}
				}
				return n == partitions*each
			}
			stopFirst := member()
			defer stopFirst()
			batch("one")
			await(t, "one member reads all", func() bool { return written("one") })
			stopSecond := member()
			defer stopSecond()
			batch("two")
			await(t, "two members read all", func() bool { return written("two") })
			stopFirst()
			batch("three")
			await(t, "the second member reads all", func() bool { return written("three") })
			stopSecond()
			rest := succeed(t, "", append(args, "-e")...)
			if rest != "" || !written("three") {
				t.Errorf("there was left %q", rest)
			}
		})
	}
}

func TestConsumeGroupOfOldBroker(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	cluster.ControlKey(int16(kmsg.ApiVersions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
		for key, most := range map[int16]int16{3: 12, 10: 4, 18: 3} {
			k := kmsg.NewApiVersionsResponseApiKey()
			k.ApiKey, k.MaxVersion = key, most
			resp.ApiKeys = append(resp.ApiKeys, k)
		}
		return resp, nil, true
	})
	fail(t, exitFailed, "the broker does not serve KIP-848's group protocol (Kafka does from 4.0 on); use --group-protocol classic", "",
		"consume", "t", "--group", "g", "--group-protocol", "consumer")
}

func TestConsumeGroupThatDoesNotFit(t *testing.T) {
	newBroker(t, kfake.SeedTopics(1, "t"))
	stop := startMember(t, "consume", "t", "--group", "g", "--assignor", "roundrobin")
	defer stop()
	awaitGroup(t, "g", func(g groupState) bool { return g.State == "Stable" })
	fail(t, exitFailed, `group "g" has members with another protocol or other assignors`, "", "consume", "t", "--group", "g", "--assignor", "sticky")
	fail(t, exitFailed, `topic "nowhere" does not exist`, "", "consume", "nowhere", "--group", "g")
}

// TestConsumeGroupWhoseOutputCloses does not commit what nobody got.
func TestConsumeGroupWhoseOutputCloses(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	seed(t, cluster, numbered("t", 0, 5)...)
	reader, writer := io.Pipe()
	reader.Close()
	var stderr bytes.Buffer
	if status := run(t.Context(), []string{"consume", "t", "--group", "g"}, strings.NewReader(""), writer, &stderr); status != exitOK || stderr.Len() > 0 {
		t.Errorf("status %d, stderr %q", status, stderr.String())
	}
	if got := succeed(t, "", "consume", "t", "--group", "g", "-e", "-D", ""); got != "01234" {
		t.Errorf("then %q", got)
	}
}

func TestConsumeGroupFromABrokerThatGoesAway(t *testing.T) {
	cluster := newBroker(t, kfake.SeedTopics(1, "t"))
	seed(t, cluster, numbered("t", 0, 2)...)
	reader, writer := io.Pipe()
	go func() {
		buffer := make([]byte, 16)
		_, _ = reader.Read(buffer)
		cluster.Close()
		_, _ = io.Copy(io.Discard, reader)
	}()
	var stderr bytes.Buffer
	status := run(t.Context(), []string{"consume", "t", "--group", "g", "--to", "5", "--timeout", "200ms"}, strings.NewReader(""), writer, &stderr)
	writer.Close()
	if status != exitFailed || stderr.Len() == 0 {
		t.Errorf("status %d, stderr %q", status, stderr.String())
	}
}
