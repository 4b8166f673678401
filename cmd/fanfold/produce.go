package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fanfold/fanfold/internal/recordtext"
)

// produceFlags are the flags of produce, as given.
type produceFlags struct {
	delimiter    string
	key          string
	keyDelimiter string
	layout       string
	headers      []string
	partition    int32
	null         bool
	timestamp    string

	files []string
	tree  string

	acks        *choiceFlag
	compression *choiceFlag
	linger      time.Duration
	batchBytes  sizeFlag
	maxInflight int
	idempotent  bool
	autoCreate  bool
	verbose     bool
	quiet       bool
}

func newProduce(a *app) *cobra.Command {
	f := produceFlags{
		acks:        choice("all", "1", "0", "-1"),
		compression: choice("none", "gzip", "snappy", "lz4", "zstd"),
	}
	cmd := markClient(&cobra.Command{
		Use:   "produce TOPIC",
		Short: "Publish records from standard input or from files",
		Long: `Publishes records to a topic and waits until they are acknowledged. Each line of
standard input is a record; -K splits it into key and value, -D sets another end
than the newline, --format reads what consume --format wrote.

Formats have kcat's tokens: %k key, %s value, %h headers a=b,c=d, %p partition,
%T timestamp in ms, %K %S lengths of key and value, %R the value's length as 4
bytes; \n \t \0 \xNN are bytes. With '%K,%k%R%s' any bytes pass.

Files: --tree sends every file below a directory, --files the files named. Each
line is a record whose key is the file's path and whose value is the line
without its newline; what follows the last newline is a record too, if only an
empty one. So a file is its records joined by newlines, any bytes and empty
files included, and consume --rebuild writes the files again.

Only acknowledged records are counted. The first failure stops the rest, and
the exit status is 1.`,
		Example: `  echo hello | fanfold produce greetings
  fanfold produce orders -K : <<< 'customer-7:{"item":"paper"}'
  fanfold produce orders -k customer-7 -H source=shop -z zstd < orders.jsonl
  fanfold produce src --tree "$(go env GOROOT)/src" -v
  fanfold consume a -e --format '%K,%k%R%s' | fanfold produce b --format '%K,%k%R%s'`,
		Args:              withUsage(cobra.MinimumNArgs(1)),
		ValidArgsFunction: a.completeTopics(1),
	})
	f.add(cmd)
	isJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		source, err := f.check(cmd, args)
		if err != nil {
			return err
		}
		return a.produce(cmd.Context(), &f, source, args[0], isJSON())
	}
	return cmd
}

func (f *produceFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.delimiter, "delimiter", "D", `\n`, "`text` that ends a record; \\0 for NUL")
	flags.StringVarP(&f.key, "key", "k", "", "`key` of every record")
	flags.StringVarP(&f.keyDelimiter, "key-delimiter", "K", "", "`text` that parts the key from the value in each line")
	flags.StringVarP(&f.layout, "format", "f", "", "`format` of the input, for example '%k\\t%s\\n'")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "`name=value` of a header of every record; repeat it for more")
	flags.Int32VarP(&f.partition, "partition", "p", -1, "`number` of the partition (default: by the key, or spread)")
	flags.BoolVarP(&f.null, "null", "Z", false, "send empty keys and values as null")
	flags.StringVar(&f.timestamp, "timestamp", "", "`time` of every record: 2026-01-31T12:00:00Z, -1h, @1700000000000 (default: now)")
	flags.StringArrayVar(&f.files, "files", nil, "send the lines of this `file`, and of those named behind the topic")
	flags.StringVar(&f.tree, "tree", "", "send the lines of every file below this `directory`")
	addChoice(cmd, f.acks, "acks", "", "who must have a record before it counts: all replicas in sync, the leader (1), nobody (0)")
	addChoice(cmd, f.compression, "compression", "z", "compress batches")
	f.linger = 5 * time.Millisecond
	flags.Var((*durationFlag)(&f.linger), "linger", "wait this long for a batch to fill")
	flags.Var(&f.batchBytes, "batch-bytes", "largest batch and record, before compression (default: the topic's max.message.bytes)")
	flags.Lookup("batch-bytes").DefValue = ""
	flags.IntVar(&f.maxInflight, "max-inflight", 5, "`number` of requests to a broker at a time; only without --idempotent")
	flags.BoolVar(&f.idempotent, "idempotent", true, "let brokers drop what a retry sends twice, and keep the order")
	flags.BoolVar(&f.autoCreate, "auto-create", true, "let the broker create a missing topic, if it is configured to")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "sum up each partition too")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "no progress and no summary")
}

// check validates the flags and returns where the records come from.
func (f *produceFlags) check(cmd *cobra.Command, args []string) (*recordSource, error) {
	changed := cmd.Flags().Changed
	fromFiles := len(f.files) > 0 || f.tree != ""
	for _, pair := range [][2]string{
		{"format", "delimiter"}, {"format", "key-delimiter"}, {"format", "key"}, {"key", "key-delimiter"},
		{"files", "tree"}, {"files", "format"}, {"tree", "format"}, {"files", "key"}, {"tree", "key"},
		{"files", "key-delimiter"}, {"tree", "key-delimiter"}, {"files", "delimiter"}, {"tree", "delimiter"},
		{"files", "null"}, {"tree", "null"},
	} {
		if changed(pair[0]) && changed(pair[1]) {
			return nil, usagef("--%s and --%s exclude each other", pair[0], pair[1])
		}
	}
	if len(args) > 1 && len(f.files) == 0 {
		return nil, usagef("produce takes one TOPIC, and %q is too much; files need --files", args[1])
	}
	if changed("partition") && f.partition < 0 {
		return nil, usagef("--partition must be 0 or more")
	}
	if f.maxInflight < 1 {
		return nil, usagef("--max-inflight must be at least 1")
	}
	if f.acks.value != "all" && f.acks.value != "-1" {
		if changed("idempotent") && f.idempotent {
			return nil, usagef("--idempotent needs --acks all")
		}
		f.idempotent = false
	}
	if changed("max-inflight") && f.idempotent {
		return nil, usagef("--max-inflight is for --idempotent=false; an idempotent producer has up to 5 requests in flight")
	}
	source := &recordSource{null: f.null, partition: f.partition}
	if fromFiles {
		source.tree, source.files = f.tree, append(f.files, args[1:]...)
	}
	if changed("key") {
		source.key = []byte(f.key)
	}
	return source, f.parse(source)
}

// parse reads the flags that have a language of their own.
func (f *produceFlags) parse(source *recordSource) (err error) {
	for _, h := range f.headers {
		header, err := parseHeader(h)
		if err != nil {
			return err
		}
		source.headers = append(source.headers, header)
	}
	if f.timestamp != "" {
		if source.timestamp, err = parseTime(f.timestamp, time.Now()); err != nil {
			return usagef("--timestamp: %s", err)
		}
	}
	if source.delimiter, err = recordtext.Unescape(f.delimiter); err != nil {
		return usagef("--delimiter: %s", err)
	}
	if len(source.delimiter) == 0 {
		return usagef("--delimiter must not be empty")
	}
	if source.keyDelimiter, err = recordtext.Unescape(f.keyDelimiter); err != nil {
		return usagef("--key-delimiter: %s", err)
	}
	if f.layout == "" {
		return nil
	}
	if source.format, err = recordtext.Parse(f.layout); err != nil {
		return usagef("--format: %s", err)
	}
	if source.format.Uses('t') {
		return usagef("--format: %%t cannot be read, the topic is an argument")
	}
	if _, err := source.format.NewReader(nil, source.delimiter, 1); err != nil {
		return usagef("--format: %s", err)
	}
	return nil
}

func (f *produceFlags) partitionsByHand(source *recordSource) bool {
	return f.partition >= 0 || source.format != nil && source.format.Uses('p')
}

// maxBufferedBytes bounds what is read but not yet acknowledged.
const maxBufferedBytes = 32 << 20

// options are the producer's options for a topic whose largest message is
// limit bytes.
func (f *produceFlags) options(source *recordSource, limit int32) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ProducerLinger(f.linger),
		kgo.ProducerBatchMaxBytes(limit),
		kgo.MaxBufferedRecords(100_000),
		kgo.MaxBufferedBytes(max(maxBufferedBytes, 2*int(limit))),
		kgo.BrokerMaxWriteBytes(max(100<<20, min(limit, 1<<30)+1<<20)),
		kgo.AllowIdempotentProduceCancellation(), // the end of --timeout or a signal ends the program
		kgo.ProducerBatchCompression(codecs[f.compression.value]),
	}
	switch f.acks.value {
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()))
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()))
	default:
		opts = append(opts, kgo.RequiredAcks(kgo.AllISRAcks()))
	}
	if !f.idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(f.maxInflight))
	}
	if f.partitionsByHand(source) {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	return opts
}

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

// produce prepares the topic and runs the pipeline.
func (a *app) produce(ctx context.Context, f *produceFlags, source *recordSource, topic string, asJSON bool) error {
	limit, err := a.prepareTopic(ctx, f, source, topic)
	if err != nil {
		return err
	}
	c, err := a.connect(ctx, f.options(source, limit)...)
	if err != nil {
		return err
	}
	defer c.Close()
	p := newPublisher(a, c, topic, f)
	p.limit = limit
	failure := p.run(ctx, source)
	if err := p.report(source, failure, asJSON); err != nil {
		return err
	}
	return failure
}
