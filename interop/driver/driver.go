// Package driver is the common shape of the client programs under clients/:
// the verbs, their flags and the files they exchange with the tests. The Java,
// Python and JavaScript programs follow the same description.
//
//	produce --brokers B --topic T --tree DIR --files LIST [--codec C] [--acks FILE]
//	    writes every record of the files named in LIST (package tree says what
//	    a file's records are), keyed by path, partitioned by the client's own
//	    default for keys. FILE gets a line "partition offset file record" for
//	    each acknowledged record, as it is acknowledged.
//	consume --brokers B --topic T --out DIR
//	    reads every partition by offset from its first to its end offset as it
//	    was at the start, without a group, and rebuilds the files.
//	write --brokers B --topic T --records FILE [--codec C]
//	    writes single records to the partitions named in FILE.
//	read --brokers B --topic T --records FILE
//	    reads all partitions and writes FILE, the same with offsets in front.
//	checks --brokers B --scratch PREFIX
//	    the client's own checks on topics with that prefix; a line for each:
//	    "ok NAME", "FAIL NAME: why".
//	member --brokers B --topic T --group G --name NAME --protocol P
//	        --session MS --heartbeat MS
//	    joins a consumer group by protocol P: eager, cooperative (both classic)
//	    or consumer (KIP-848); handles records, the value of each being its
//	    number, and commits them, from the first on where nothing is committed.
//	    Standard output gets the events of package group. When standard input
//	    ends, the member commits, leaves and prints so. A line "describe" on it
//	    asks for the group by the client's own admin API.
//
// Each takes --set NAME=VALUE, any number of times: settings of that client.
// A records file holds lines of tab-separated fields: [offset,] partition,
// timestamp in milliseconds, key, value, headers. Bytes are base64, null is
// "-", headers are name=value pairs, both base64, joined with ";".
package driver

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fanfold/fanfold/interop/group"
)

// Client is what a program implements for its library.
type Client interface {
	Produce(ctx context.Context, o Options, lines *Lines, acked *Acks) error
	// Consume calls add with each partition's records in order; calls for
	// different partitions may run side by side.
	Consume(ctx context.Context, o Options, add func(Record) error) error
	Write(ctx context.Context, o Options, records []Record) error
	// Join is a member of a group until ctx ends; then it leaves in order.
	Join(ctx context.Context, o Options, m *Member) error
	// Describe asks for the group by the library's admin API: the fields
	// State, Members, Assignments, Listed and Offsets.
	Describe(ctx context.Context, o Options) (group.Event, error)
	Checks(ctx context.Context, o Options, c *Checks)
}

// Options are the flags of every verb.
type Options struct {
	Brokers string // one host:port
	Topic   string
	Codec   string // none, gzip, snappy, lz4, zstd
	Scratch string // prefix of the topics that checks may create
	Set     map[string]string

	Group     string
	Name      string // of the member, in the test
	Protocol  string // eager, cooperative, consumer
	Session   time.Duration
	Heartbeat time.Duration
}

type flags struct {
	Options
	tree, files, acks, out, records string
}

func parse(args []string) (flags, error) {
	f := flags{Options: Options{Set: map[string]string{}}}
	fs := flag.NewFlagSet("driver", flag.ContinueOnError)
	fs.StringVar(&f.Brokers, "brokers", "127.0.0.1:9092", "`host:port` of a broker")
	fs.StringVar(&f.Topic, "topic", "", "topic")
	fs.StringVar(&f.Codec, "codec", "none", "compression")
	fs.StringVar(&f.Scratch, "scratch", "", "prefix of topics that checks may create")
	fs.StringVar(&f.tree, "tree", "", "folder of the files")
	fs.StringVar(&f.files, "files", "", "list of files in it")
	fs.StringVar(&f.acks, "acks", "", "log of acknowledged records")
	fs.StringVar(&f.out, "out", "", "folder to rebuild the files in")
	fs.StringVar(&f.records, "records", "", "records file")
	fs.StringVar(&f.Group, "group", "", "consumer group")
	fs.StringVar(&f.Name, "name", "", "the member's name in what it prints")
	fs.StringVar(&f.Protocol, "protocol", "", "eager, cooperative or consumer")
	millis(fs, &f.Session, "session", "session time-out")
	millis(fs, &f.Heartbeat, "heartbeat", "heartbeat interval")
	fs.Func("set", "`name=value` of the client", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("no = in %q", s)
		}
		f.Set[name] = value
		return nil
	})
	return f, fs.Parse(args)
}

// millis is a flag in milliseconds.
func millis(fs *flag.FlagSet, to *time.Duration, name, usage string) {
	fs.Func(name, usage+", in `milliseconds`", func(s string) error {
		n, err := strconv.ParseInt(s, 10, 32)
		*to = time.Duration(n) * time.Millisecond
		return err
	})
}

// Main runs the verb named by the command line and ends the process.
func Main(c Client) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 {
		fail(fmt.Errorf("no verb: produce, consume, write, read, member or checks"))
	}
	f, err := parse(os.Args[2:])
	if err != nil {
		os.Exit(2)
	}
	switch verb := os.Args[1]; verb {
	case "produce":
		err = produce(ctx, c, f)
	case "consume":
		err = consume(ctx, c, f)
	case "write":
		err = write(ctx, c, f)
	case "read":
		err = read(ctx, c, f)
	case "member":
		err = member(ctx, c, f.Options)
	case "checks":
		checks := &Checks{}
		c.Checks(ctx, f.Options, checks)
		err = checks.err()
	default:
		err = fmt.Errorf("no verb %q", verb)
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func produce(ctx context.Context, c Client, f flags) error {
	lines, err := openLines(f.tree, f.files)
	if err != nil {
		return err
	}
	acks, err := createAcks(f.acks)
	if err != nil {
		return err
	}
	if err := c.Produce(ctx, f.Options, lines, acks); err != nil {
		return fmt.Errorf("topic %s: %w", f.Topic, err)
	}
	if lines.err != nil {
		return lines.err
	}
	count, err := acks.close()
	if err != nil {
		return err
	}
	if count != lines.count {
		return fmt.Errorf("topic %s: %d records written and %d acknowledged", f.Topic, lines.count, count)
	}
	fmt.Println(count, "records")
	return nil
}

func consume(ctx context.Context, c Client, f flags) error {
	rebuild := newRebuild(f.out)
	if err := c.Consume(ctx, f.Options, rebuild.add); err != nil {
		return fmt.Errorf("topic %s: %w", f.Topic, err)
	}
	count, err := rebuild.close()
	if err != nil {
		return err
	}
	fmt.Println(count, "records")
	return nil
}

func write(ctx context.Context, c Client, f flags) error {
	records, err := ReadRecords(f.records, false)
	if err != nil {
		return err
	}
	if err := c.Write(ctx, f.Options, records); err != nil {
		return fmt.Errorf("topic %s: %w", f.Topic, err)
	}
	return nil
}

func read(ctx context.Context, c Client, f flags) error {
	var got collected
	if err := c.Consume(ctx, f.Options, got.add); err != nil {
		return fmt.Errorf("topic %s: %w", f.Topic, err)
	}
	return WriteRecords(f.records, got.records, true)
}

// Checks prints the outcome of each of a client's own checks.
type Checks struct{ failed int }

// Run prints "ok name", or "FAIL name: why".
func (c *Checks) Run(name string, check func() error) {
	if err := check(); err != nil {
		c.failed++
		fmt.Printf("FAIL %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Println("ok", name)
}

// settleWithin is how long what was changed may take to be seen.
const settleWithin = 10 * time.Second

// Settle is Run for a check that reads what an earlier one changed. It is
// tried again for a while: Apache Kafka's brokers learn of a change a moment
// after it was answered.
func (c *Checks) Settle(name string, check func() error) {
	c.Run(name, func() error {
		deadline := time.Now().Add(settleWithin)
		for {
			err := check()
			if err == nil || time.Now().After(deadline) {
				return err
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
}

func (c *Checks) err() error {
	if c.failed > 0 {
		return fmt.Errorf("%d checks failed", c.failed)
	}
	return nil
}
