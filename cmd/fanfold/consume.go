package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fanfold/fanfold/internal/recordtext"
)

// consumeFlags are the flags of consume, as given.
type consumeFlags struct {
	from, to     string
	count        int64
	partitions   []int32
	exit         bool
	layout       string
	delimiter    string
	keyDelimiter string
	null         bool
	rebuild      string

	output        *choiceFlag
	isolation     *choiceFlag
	fetchMaxBytes sizeFlag
	maxWait       time.Duration
	quiet         bool

	group    string
	protocol *choiceFlag
	assignor *choiceFlag
}

func newConsume(a *app) *cobra.Command {
	f := consumeFlags{
		output:        choice("text", "json"),
		isolation:     choice("read_committed", "read_uncommitted"),
		fetchMaxBytes: 4 << 20,
		maxWait:       500 * time.Millisecond,
		protocol:      choice("classic", "consumer"),
		assignor:      choice(assignorAuto, "cooperative-sticky", "sticky", "range", "roundrobin", "uniform"),
	}
	cmd := markClient(&cobra.Command{
		Use:   "consume TOPIC...",
		Short: "Read records to standard output or into files",
		Long: `Reads the records of topics, from the beginning on, and waits for more until it
is interrupted; -e ends at the present end. Records of one partition come in
order, those of several mixed.

Positions, for --from and --to (which is not included):
  beginning, end     the first record that is kept, and behind the last
  1234               an offset
  -100               so many before the end, in each partition
  2026-01-31T12:00Z  the first record not older than this; also 2026-01-31 and
                     2026-01-31 12:00 in local time, @ and milliseconds since
                     1970, -1h for an hour ago

Formats have kcat's tokens: %t topic, %p partition, %o offset, %T timestamp in
ms, %k key, %s value, %h headers a=b,c=d, %K %S lengths of key and value (-1 for
null), %R the value's length as 4 bytes, %% a per cent sign; \n \t \0 \xNN.

-o json writes an object a line. Keys and values that are not UTF-8 are in
base64, with "key_encoding" or "value_encoding" beside them.

--group makes it a member of a consumer group: it reads the partitions that the
group gives it, from what the group has committed on, commits what it has
written, and leaves the group at its end. --from is then where a partition
begins for which nothing is committed yet, and -e ends once the group has read
up to the present ends. More members, on any machine, share the partitions.

--rebuild writes the files that produce --tree or --files sent, each record's
key being its file's path. It refuses paths that leave the directory and a
directory that is not empty, and checks order, size and CRC of every file.`,
		Example: `  fanfold consume orders                              # all, and what comes
  fanfold consume orders -e -f '%p:%o %k = %s\n'
  fanfold consume orders --from -10 -e                # the last 10 of each partition
  fanfold consume orders --from -1h --to -30m -o json | jq .value
  fanfold consume orders --group billing -o json      # as a member of a group
  fanfold consume src --rebuild /tmp/src`,
		Args:              withUsage(cobra.MinimumNArgs(1)),
		ValidArgsFunction: a.completeTopics(0),
	})
	f.add(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, topics []string) error {
		plan, err := f.check(cmd, topics)
		if err != nil {
			return err
		}
		return a.consume(cmd.Context(), &f, plan)
	}
	return cmd
}

func (f *consumeFlags) add(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "beginning", "`position` to start at")
	flags.StringVar(&f.to, "to", "", "`position` to end before (default: go on)")
	flags.Int64VarP(&f.count, "count", "n", 0, "end after this `number` of records")
	flags.Int32SliceVarP(&f.partitions, "partition", "p", nil, "`number` of a partition to read; repeat it for more (default: all)")
	flags.BoolVarP(&f.exit, "exit", "e", false, "end where the partitions end now")
	flags.StringVarP(&f.layout, "format", "f", "", "`format` of the output (default: '%s\\n')")
	flags.StringVarP(&f.delimiter, "delimiter", "D", `\n`, "`text` behind each record")
	flags.StringVarP(&f.keyDelimiter, "key-delimiter", "K", "", "write the key, this `text`, and the value")
	flags.BoolVarP(&f.null, "null", "Z", false, "write NULL for null keys and values")
	flags.StringVar(&f.rebuild, "rebuild", "", "write the files that were sent into this new `directory`; implies --exit")
	flags.StringVarP(&f.group, "group", "g", "", "read as a member of this consumer `group`, and commit")
	addChoice(cmd, f.protocol, "group-protocol", "", "the group's protocol: consumer is KIP-848's")
	addChoice(cmd, f.assignor, "assignor", "", "who gets which partitions of the group")
	addChoice(cmd, f.output, "output", "o", "how to write records")
	addChoice(cmd, f.isolation, "isolation", "", "whether to leave out transactions that are open or were aborted")
	flags.Var(&f.fetchMaxBytes, "fetch-max-bytes", "most bytes that a broker shall answer at once")
	flags.Var((*durationFlag)(&f.maxWait), "max-wait", "how long a broker shall wait for new records before it answers")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "no progress and no summary")
	// The error is a flag that does not exist; these were just added.
	_ = cmd.RegisterFlagCompletionFunc("from", cobra.FixedCompletions([]string{"beginning", "end"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.FixedCompletions([]string{"end"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagDirname("rebuild")
	_ = cmd.RegisterFlagCompletionFunc("group", a.completeGroups(0))
}

// A consumePlan is what consume was told to do, checked.
type consumePlan struct {
	topics     []string
	partitions []int32 // nil: all
	from       position
	to         *position // nil: no end
	count      int64     // 0: no limit
	format     *recordtext.Format
	asJSON     bool
	rebuild    string
	group      *groupPlan // nil: of no group
}

// bounded tells whether the reading ends by itself.
func (p *consumePlan) bounded() bool { return p.to != nil || p.count > 0 }

func (f *consumeFlags) check(cmd *cobra.Command, topics []string) (*consumePlan, error) {
	changed := cmd.Flags().Changed
	for _, pair := range [][2]string{
		{"exit", "to"}, {"format", "delimiter"}, {"format", "key-delimiter"}, {"output", "format"}, {"output", "key-delimiter"},
		{"output", "delimiter"}, {"rebuild", "format"}, {"rebuild", "delimiter"}, {"rebuild", "key-delimiter"}, {"rebuild", "count"},
		{"group", "partition"}, {"group", "rebuild"},
	} {
		if changed(pair[0]) && changed(pair[1]) && !(pair[0] == "output" && f.output.value == "text") {
			return nil, usagef("--%s and --%s exclude each other", pair[0], pair[1])
		}
	}
	if changed("count") && f.count < 1 {
		return nil, usagef("--count must be at least 1")
	}
	if changed("rebuild") && len(topics) > 1 {
		return nil, usagef("--rebuild takes one topic")
	}
	plan := &consumePlan{topics: topics, partitions: f.partitions, count: f.count, asJSON: f.output.value == "json", rebuild: f.rebuild}
	for _, p := range f.partitions {
		if p < 0 {
			return nil, usagef("--partition must be 0 or more")
		}
	}
	now := time.Now()
	var err error
	if plan.from, err = parsePosition(f.from, now); err != nil {
		return nil, usagef("--from: %s", err)
	}
	to := f.to
	if f.exit || changed("rebuild") && to == "" {
		to = "end"
	}
	if to != "" {
		end, err := parsePosition(to, now)
		if err != nil {
			return nil, usagef("--to: %s", err)
		}
		plan.to = &end
	}
	if plan.group, err = f.groupPlan(changed); err != nil {
		return nil, err
	}
	plan.format, err = f.outputFormat()
	return plan, err
}

// outputFormat is the format given, or one made of the delimiters.
func (f *consumeFlags) outputFormat() (*recordtext.Format, error) {
	layout, name := f.layout, "format"
	if layout == "" {
		literal := func(s string) string { return strings.ReplaceAll(s, "%", "%%") }
		layout, name = "%s"+literal(f.delimiter), "delimiter"
		if f.keyDelimiter != "" {
			layout = "%k" + literal(f.keyDelimiter) + layout
		}
	}
	format, err := recordtext.Parse(layout)
	if err != nil {
		return nil, usagef("--%s: %s", name, err)
	}
	if f.null {
		format = format.WithNull("NULL")
	}
	return format, nil
}

// consume finds the offsets to read and reads them.
func (a *app) consume(ctx context.Context, f *consumeFlags, plan *consumePlan) error {
	sink, err := a.newSink(plan, f.quiet)
	if err != nil {
		return err
	}
	var bounds *bounds
	err = a.withClient(ctx, func(ctx context.Context, c *client) (err error) {
		if plan.group != nil {
			if err := plan.group.served(ctx, c); err != nil {
				return err
			}
		}
		bounds, err = findBounds(ctx, c, plan, f.isolation.value == "read_committed")
		return err
	})
	switch {
	case err != nil:
	case plan.group != nil:
		err = a.readGroup(ctx, f, plan, bounds, sink)
	default:
		err = a.readBounds(ctx, f, plan, bounds, sink)
	}
	if closeErr := sink.close(err == nil); err == nil {
		err = closeErr
	}
	return err
}

// readBounds reads what lies between the bounds, on its own.
func (a *app) readBounds(ctx context.Context, f *consumeFlags, plan *consumePlan, bounds *bounds, sink sink) error {
	ranges, err := bounds.ranges()
	if err != nil || ranges.done() {
		return err
	}
	c, err := a.connect(ctx, append(f.fetchOptions(), kgo.ConsumePartitions(ranges.offsets()))...)
	if err != nil {
		return err
	}
	defer c.Close()
	r := &rangeReader{app: a, client: c, plan: plan, ranges: ranges, sink: sink, meter: newMeter()}
	defer a.showReceived(r.meter, plan, f.quiet)()
	return r.run(ctx)
}

// fetchOptions are how records are fetched, in a group or not.
func (f *consumeFlags) fetchOptions() []kgo.Opt {
	isolation := kgo.ReadUncommitted()
	if f.isolation.value == "read_committed" {
		isolation = kgo.ReadCommitted()
	}
	return []kgo.Opt{
		kgo.FetchIsolationLevel(isolation),
		kgo.FetchMaxBytes(int32(f.fetchMaxBytes)),
		kgo.FetchMaxPartitionBytes(max(int32(f.fetchMaxBytes)/4, 1)),
		kgo.FetchMaxWait(max(f.maxWait, 10*time.Millisecond)),
		kgo.KeepControlRecords(), // the last offset of a transaction is its marker's
	}
}

// showReceived shows what comes until done is called, which sums it up; where
// nobody looks it does nothing.
func (a *app) showReceived(m *meter, plan *consumePlan, quiet bool) (done func()) {
	if !a.errTerminal || a.outTerminal || quiet {
		return func() {}
	}
	stop := showProgress(a.stderr, func() string { return m.line("received") })
	return func() {
		stop()
		if plan.rebuild == "" {
			a.note(m.line("received"))
		}
	}
}
