package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/bench"
	"github.com/fanfold/fanfold/internal/units"
)

// benchFlags are the flags of the bench verbs, as given.
type benchFlags struct {
	topic      string
	partitions int32
	replicas   int16
	configs    []string
	keep       bool
	verify     bool

	recordBytes sizeFlag
	text        bool
	clients     int
	rate        float64
	acks        *choiceFlag
	compression *choiceFlag
	linger      time.Duration
	batchBytes  sizeFlag
	maxInflight int
	oneByOne    bool
	roundRobin  bool

	warmup, duration time.Duration
	readers          int
	fill             string

	behindRate    float64
	behindClients int
}

func newBench(a *app) *cobra.Command {
	cmd := markClient(&cobra.Command{
		Use:   "bench",
		Short: "Measure a cluster: throughput and latency",
		Long: `Puts load on the brokers and measures what comes of it, Fanfold or any other
that speaks Kafka's protocol. Times are counted from when a record was due, so
that a broker that stalls is charged for all that had to wait meanwhile, and
every record is read back and compared by checksum.

The load goes to a topic made for it, which is deleted at the end, unless
--topic names one.`,
		Example: `  fanfold bench produce --clients 4                     as fast as it goes
  fanfold bench produce --rate 50000 --record-bytes 200   at a steady rate
  fanfold bench consume --fill 4GiB --readers 8         8 readers of all of it
  fanfold bench latency --rate 1000                     from due to read
  fanfold bench mixed --rate 1000 --behind-rate 100000    the same, under load`,
		Args: cobra.ArbitraryArgs,
		RunE: groupOf,
	})
	cmd.AddCommand(a.benchProduce(), a.benchConsume(), a.benchLatency(), a.benchMixed())
	return cmd
}

// benchVerb is a verb of bench, with the flags that all have.
func (a *app) benchVerb(f *benchFlags, use, short, long string, run func(context.Context, *benchRun) error) *cobra.Command {
	f.acks, f.compression = choice("all", "1", "0"), choice(bench.Codecs[0], bench.Codecs[1:]...)
	cmd := &cobra.Command{
		Use: use + " [flags]", Short: short, Long: long,
		Args: withUsage(cobra.NoArgs), ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.topic, "topic", "", "`name` of a topic that exists (default: one for this run alone)")
	flags.Int32VarP(&f.partitions, "partitions", "p", 8, "`number` of partitions of the topic made for the run")
	flags.Int16VarP(&f.replicas, "replicas", "r", -1, "`number` of its replicas (default: the brokers' default)")
	flags.StringArrayVarP(&f.configs, "config", "c", nil, "`name=value` of a config of that topic; repeat it for more")
	flags.BoolVar(&f.keep, "keep", false, "keep the topic that was made")
	isJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(cmd); err != nil {
			return err
		}
		b := &benchRun{app: a, flags: f, verb: use, topic: f.topic}
		if err := b.begin(cmd.Context()); err != nil {
			return err
		}
		began := time.Now()
		err := run(cmd.Context(), b)
		if cmd.Context().Err() != nil {
			err = errInterrupted
		}
		return errors.Join(err, b.end(), b.report(err, time.Since(began), isJSON()))
	}
	return cmd
}

// addLoad adds the flags of verbs that write.
func (f *benchFlags) addLoad(cmd *cobra.Command, rate float64, linger time.Duration) {
	f.linger = linger
	flags := cmd.Flags()
	f.recordBytes = 1 << 10
	flags.Var(&f.recordBytes, "record-bytes", "size of a record's value, 16 bytes or more")
	flags.BoolVar(&f.text, "text", false, "send text that compresses, instead of noise")
	f.rate = rate
	flags.Float64Var(&f.rate, "rate", rate, "`records` a second of all clients; 0 is as fast as it goes")
	addChoice(cmd, f.acks, "acks", "", "who must have a record before it counts: all replicas in sync, the leader (1), nobody (0)")
	addChoice(cmd, f.compression, "compression", "z", "compress batches")
	flags.Var((*durationFlag)(&f.linger), "linger", "wait this long for a batch to fill")
	flags.Var(&f.batchBytes, "batch-bytes", "largest batch (default: the client's, about 1 MB)")
	flags.Lookup("batch-bytes").DefValue = ""
	flags.IntVar(&f.maxInflight, "max-inflight", 0, "`number` of requests to a broker at a time (default: 5)")
	f.warmup, f.duration = time.Second, 10*time.Second
	flags.Var((*durationFlag)(&f.warmup), "warmup", "load before what counts")
	flags.Var((*durationFlag)(&f.duration), "duration", "how long is measured")
	flags.BoolVar(&f.verify, "verify", true, "read all back and compare")
}

func (a *app) benchProduce() *cobra.Command {
	f := &benchFlags{}
	cmd := a.benchVerb(f, "produce", "Write records",
		`Writes records and measures the throughput, and the time from when each was due
until its acknowledgement. Without --rate a record is due when the client has
room for it.`,
		func(ctx context.Context, b *benchRun) error { return b.produce(ctx) })
	f.addLoad(cmd, 0, 5*time.Millisecond)
	cmd.Flags().IntVar(&f.clients, "clients", 1, "`number` of clients, each with connections of its own")
	cmd.Flags().BoolVar(&f.roundRobin, "round-robin", false, "each record goes to the next partition, instead of some to one before the next")
	cmd.Flags().BoolVar(&f.oneByOne, "one-by-one", false, "each client waits for a record's acknowledgement before it sends the next")
	return cmd
}

func (a *app) benchConsume() *cobra.Command {
	f := &benchFlags{}
	cmd := a.benchVerb(f, "consume", "Read records",
		`Reads all of a topic, with one reader or several that each read everything.
Without --topic, a topic is filled first.`,
		func(ctx context.Context, b *benchRun) error { return b.consume(ctx) })
	cmd.Flags().IntVar(&f.readers, "readers", 1, "`number` of readers")
	cmd.Flags().StringVar(&f.fill, "fill", "1GiB", "`size` of what the topic made for the run is filled with")
	f.recordBytes = 1 << 10
	cmd.Flags().Var(&f.recordBytes, "record-bytes", "size of a record's value there")
	return cmd
}

func (a *app) benchLatency() *cobra.Command {
	f := &benchFlags{clients: 1}
	cmd := a.benchVerb(f, "latency", "Follow records from when they were due until they are read",
		`Writes at a steady rate while readers follow, and measures the time from when
each record was due until a reader has it.`,
		func(ctx context.Context, b *benchRun) error { return b.latency(ctx) })
	f.addLoad(cmd, 1000, 0)
	cmd.Flags().IntVar(&f.readers, "readers", 1, "`number` of readers")
	return cmd
}

func (a *app) benchMixed() *cobra.Command {
	f := &benchFlags{clients: 1}
	cmd := a.benchVerb(f, "mixed", "The same as latency, while others write",
		`Measures latency at a steady rate while other clients write to a second topic.`,
		func(ctx context.Context, b *benchRun) error { return b.latency(ctx) })
	f.addLoad(cmd, 1000, 0)
	cmd.Flags().IntVar(&f.readers, "readers", 1, "`number` of readers")
	cmd.Flags().Float64Var(&f.behindRate, "behind-rate", 0, "`records` a second of the other clients; 0 is as fast as it goes")
	cmd.Flags().IntVar(&f.behindClients, "behind-clients", 1, "`number` of other clients")
	return cmd
}

// check refuses what makes no sense.
func (f *benchFlags) check(cmd *cobra.Command) error {
	given := cmd.Flags().Changed
	if f.topic != "" {
		for _, name := range []string{"partitions", "replicas", "config", "keep", "fill"} {
			if given(name) {
				return usagef("--%s is for the topic made for the run, and --topic names another", name)
			}
		}
		if f.verify && given("verify") {
			return usagef("--verify needs a topic made for the run: %s may hold other records", f.topic)
		}
		f.verify = false
	}
	if f.acks.value == "0" {
		f.verify = false // nothing is known of what arrived
	}
	for name, v := range map[string]int{"clients": f.clients, "readers": f.readers, "behind-clients": f.behindClients} {
		if given(name) && v < 1 {
			return usagef("--%s must be at least 1", name)
		}
	}
	switch {
	case f.recordBytes < 16:
		return usagef("--record-bytes must be at least 16: a record carries when it was due, and its number")
	case f.rate < 0 || f.behindRate < 0:
		return usagef("a rate must not be negative")
	case f.rate == 0 && (cmd.Name() == "latency" || cmd.Name() == "mixed"):
		return usagef("--rate must be above 0: latency is measured by a schedule")
	case cmd.Name() != "consume" && f.duration <= 0:
		return usagef("--duration must be above 0, for example 10s")
	case f.partitions < 1:
		return usagef("--partitions must be at least 1")
	case f.replicas < 1 && given("replicas"):
		return usagef("--replicas must be at least 1")
	case f.maxInflight < 0:
		return usagef("--max-inflight must be at least 1")
	case f.oneByOne && (f.rate > 0 || f.compression.value != "none"):
		return usagef("--one-by-one excludes --rate and --compression")
	}
	if cmd.Name() == "consume" {
		if n, err := units.ParseBytes(f.fill); err != nil || n < int64(f.recordBytes) {
			return usagef("--fill: %q is no size of a record or more", f.fill)
		}
	}
	return nil
}

// load is what the flags say of the records to write.
func (f *benchFlags) load(a *app, topic string) bench.Load {
	return bench.Load{
		Brokers: a.brokers, Topic: topic, RecordBytes: int(f.recordBytes), Text: f.text, Clients: f.clients, Rate: f.rate,
		Acks: f.acks.value, Compression: f.compression.value, Linger: f.linger, BatchBytes: int32(f.batchBytes),
		InFlight: f.maxInflight, RoundRobin: f.roundRobin, Warmup: f.warmup, Duration: f.duration,
	}
}

// describe is the load in one line.
func (f *benchFlags) describe(verb string) string {
	if verb == "consume" {
		return fmt.Sprintf("%s, each reads all", plural(int64(f.readers), "reader"))
	}
	rate := "as fast as it goes"
	if f.rate > 0 {
		rate = units.FormatCount(int64(f.rate)) + " records/s"
	}
	return fmt.Sprintf("records of %s, %s, %s, acks %s, compression %s",
		units.FormatBytes(int64(f.recordBytes)), plural(int64(f.clients), "client"), rate, f.acks.value, f.compression.value)
}
