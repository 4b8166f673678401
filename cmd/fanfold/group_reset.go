package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/fanfold/fanfold/internal/table"
)

// resetFlags are the flags of group reset-offsets, as given.
type resetFlags struct {
	topics    []string
	allTopics bool
	fromFile  string

	toEarliest, toLatest, toCurrent bool
	toDatetime, byDuration          string
	toOffset, shiftBy               int64

	execute, dryRun, export bool
}

func newGroupReset(a *app) *cobra.Command {
	var f resetFlags
	cmd := &cobra.Command{
		Use:   "reset-offsets NAME WHERE TARGET",
		Short: "Move a group's committed offsets: to the past, the future or a saved state",
		Long: `Moves the committed offsets of a group without members, so that it reads records
again or leaves some out. By default it only shows what would change, in a table
of before and after; --execute does it.

WHERE is --topic for a topic or some of its partitions, or --all-topics for all
that the group has committed. TARGET is one of:
  --to-earliest              the first record that is kept
  --to-latest                behind the last record
  --to-current               where it is: for --export, or to commit it anew
  --to-datetime TIME         the first record not older than this: 2026-01-31T12:00Z,
                             2026-01-31 and 2026-01-31 12:00 in local time,
                             @ and milliseconds since 1970
  --by-duration DURATION     the first record not older than so long ago: 90m, 1d, PT1H30M
  --to-offset N              an offset
  --shift-by N               N records on, or back where N is negative
  --from-file FILE           offsets that --export wrote, lines topic,partition,offset;
                             - is standard input. It says WHERE, too

An offset outside the log is moved to its start or end, which NOTE tells.
--export writes the offsets after the move as such lines instead of the table.`,
		Example: `  fanfold group reset-offsets billing --topic orders --to-earliest
  fanfold group reset-offsets billing --topic orders --to-earliest --execute
  fanfold group reset-offsets billing --topic orders:0,2-5 --shift-by -100 --execute
  fanfold group reset-offsets billing --all-topics --by-duration 2h
  fanfold group reset-offsets billing --all-topics --export > billing.csv
  fanfold group reset-offsets billing --from-file billing.csv --execute`,
		Args:              withUsage(cobra.ExactArgs(1)),
		ValidArgsFunction: a.completeGroups(1),
	}
	f.add(a, cmd)
	isJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if f.export && isJSON() {
			return usagef("--export and --output json exclude each other")
		}
		plan, err := f.check(cmd, args[0])
		if err != nil {
			return err
		}
		if plan.file != "" {
			if plan.saved, err = a.readOffsets(cmd.Context(), plan.file, plan.group); err != nil {
				return err
			}
		}
		return a.withClient(cmd.Context(), func(ctx context.Context, c *client) error {
			return a.resetOffsets(ctx, c, plan, isJSON())
		})
	}
	return cmd
}

// resetTargets are the flags of which exactly one says where to.
var resetTargets = []string{"to-earliest", "to-latest", "to-current", "to-datetime", "by-duration", "to-offset", "shift-by", "from-file"}

func (f *resetFlags) add(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.topics, "topic", nil, "`TOPIC[:PARTITIONS]` to move, such as orders or orders:0,2-5; repeat it for more")
	flags.BoolVar(&f.allTopics, "all-topics", false, "move all that the group has committed")
	flags.BoolVar(&f.toEarliest, "to-earliest", false, "to the first record that is kept")
	flags.BoolVar(&f.toLatest, "to-latest", false, "behind the last record")
	flags.BoolVar(&f.toCurrent, "to-current", false, "to where it is")
	flags.StringVar(&f.toDatetime, "to-datetime", "", "to the first record not older than this `time`")
	flags.StringVar(&f.byDuration, "by-duration", "", "to the first record not older than this `duration` ago")
	flags.Int64Var(&f.toOffset, "to-offset", 0, "to this `offset`")
	flags.Int64Var(&f.shiftBy, "shift-by", 0, "by this `number` of records, back where it is negative")
	flags.StringVar(&f.fromFile, "from-file", "", "to the offsets in this `file`")
	flags.BoolVar(&f.execute, "execute", false, "commit the new offsets")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only show what would change, which is the default")
	flags.BoolVar(&f.export, "export", false, "write the new offsets as lines topic,partition,offset")
	// The errors are of flags that do not exist; these were just added.
	_ = cmd.RegisterFlagCompletionFunc("topic", a.completeTopics(0))
	_ = cmd.MarkFlagFilename("from-file", "csv")
}

// resetPlan is what reset-offsets was told to do, checked.
type resetPlan struct {
	group   string
	topics  []topicSpec // nil: all that is committed, or what the file names
	target  resetTarget
	at      position // for toPosition
	shift   int64    // for byShift
	file    string   // for toSaved
	saved   map[partitionOf]int64
	execute bool
	export  bool
}

type resetTarget int

const (
	toPosition resetTarget = iota
	toCurrent
	byShift
	toSaved
)

func (f *resetFlags) check(cmd *cobra.Command, group string) (*resetPlan, error) {
	changed := cmd.Flags().Changed
	plan := &resetPlan{group: group, execute: f.execute, export: f.export, file: f.fromFile}
	if f.execute && f.dryRun {
		return nil, usagef("--execute and --dry-run exclude each other")
	}
	given := slices.DeleteFunc(slices.Clone(resetTargets), func(name string) bool { return !changed(name) })
	if len(given) == 0 && f.export {
		given = []string{"to-current"}
	}
	switch {
	case len(given) == 0:
		return nil, usagef("say where to move the offsets: one of --%s", strings.Join(resetTargets, ", --"))
	case len(given) > 1:
		return nil, usagef("--%s and --%s exclude each other", given[0], given[1])
	}
	var err error
	if plan.topics, err = parseTopicSpecs(f.topics); err != nil {
		return nil, err
	}
	where := len(plan.topics) > 0 || f.allTopics
	switch {
	case len(plan.topics) > 0 && f.allTopics:
		return nil, usagef("--topic and --all-topics exclude each other")
	case given[0] == "from-file" && where:
		return nil, usagef("--from-file says which partitions to move: leave out --topic and --all-topics")
	case given[0] != "from-file" && !where:
		return nil, usagef("say which offsets to move: --topic TOPIC[:PARTITIONS], or --all-topics for all that the group has committed")
	}
	return plan, f.setTarget(plan, given[0])
}

// setTarget reads the value of the one flag that says where to.
func (f *resetFlags) setTarget(plan *resetPlan, flag string) error {
	now := time.Now()
	switch flag {
	case "to-earliest":
		plan.at = position{kind: atBeginning}
	case "to-latest":
		plan.at = position{kind: atEnd}
	case "to-current":
		plan.target = toCurrent
	case "to-datetime":
		t, err := parseTime(f.toDatetime, now)
		if err != nil {
			return usagef("--to-datetime: %s", err)
		}
		plan.at = position{atTime, max(t.UnixMilli(), 0)}
	case "by-duration":
		d, err := parsePeriod(f.byDuration)
		if err != nil {
			return usagef("--by-duration: %s", err)
		}
		plan.at = position{atTime, max(now.Add(-d).UnixMilli(), 0)}
	case "to-offset":
		if f.toOffset < 0 {
			return usagef("--to-offset must be 0 or more; --shift-by moves back")
		}
		plan.at = position{atOffset, f.toOffset}
	case "shift-by":
		plan.target, plan.shift = byShift, f.shiftBy
	case "from-file":
		plan.target = toSaved
	}
	return nil
}

// resetResult is what reset-offsets tells.
type resetResult struct {
	Group      string           `json:"group"`
	Executed   bool             `json:"executed"`
	Partitions []resetPartition `json:"partitions"`
}

// resetPartition is a partition whose offset is moved, or would be.
type resetPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Before    *int64 `json:"before"` // null: nothing committed
	After     *int64 `json:"after"`  // null: it is left alone
	Start     int64  `json:"start_offset"`
	End       int64  `json:"end_offset"`
	Note      string `json:"note,omitempty"`

	commit kadm.Offset // before
}

func (a *app) resetOffsets(ctx context.Context, c *client, plan *resetPlan, asJSON bool) error {
	groups, failed := describeGroups(ctx, c, []string{plan.group})
	group := groups[plan.group]
	var none *noSuchGroupError // committing offsets makes it
	if err := failed[plan.group]; err != nil && !errors.As(err, &none) {
		return err
	}
	busy := activeGroup(group)
	if busy != nil && plan.execute {
		return busy
	}
	committed, err := committedOffsets(ctx, c, plan.group)
	if err != nil && group != nil {
		return err
	}
	rows, err := planReset(ctx, c, plan, committed)
	if err != nil {
		return err
	}
	result := resetResult{Group: plan.group, Executed: plan.execute, Partitions: rows}
	var failures perTopic
	if plan.execute {
		failures, err = commitReset(ctx, c, &result)
		if err != nil {
			return err
		}
	}
	if err := a.writeReset(&result, plan.export, asJSON); err != nil {
		return err
	}
	switch {
	case plan.execute:
		return failures.report(a)
	case group == nil:
		a.note(fmt.Sprintf("group %q does not exist: --execute creates it, with these offsets", plan.group))
	case busy != nil:
		a.note("nothing was changed, and --execute would be refused: " + busy.Error())
	case !plan.export:
		a.note("nothing was changed; --execute does it")
	}
	return nil
}

// activeGroup is the refusal of a group with members: they would go on from
// their own positions and commit those.
func activeGroup(g *groupState) error {
	if g == nil || len(g.Members) == 0 && (g.State == "Empty" || g.State == "Dead") {
		return nil
	}
	return fmt.Errorf("group %q is %s and has %s, who would go on from where they are; stop them first (who they are: fanfold group describe %s)",
		g.Name, g.State, plural(int64(len(g.Members)), "member"), g.Name)
}

// commitReset commits what the plan says. Partitions that fail lose their After.
func commitReset(ctx context.Context, c *client, result *resetResult) (perTopic, error) {
	var failures perTopic
	var offsets kadm.Offsets
	for i := range result.Partitions {
		row := &result.Partitions[i]
		if row.After == nil {
			continue
		}
		o := kadm.Offset{Topic: row.Topic, Partition: row.Partition, At: *row.After, LeaderEpoch: -1}
		if row.Before != nil && *row.Before == *row.After {
			o = row.commit // with its epoch and metadata
		}
		offsets.Add(o)
	}
	if len(offsets) == 0 {
		return failures, nil
	}
	responses, err := c.admin.CommitOffsets(ctx, result.Group, offsets)
	if err != nil {
		return failures, c.explain(ctx, fmt.Sprintf("commit offsets of group %q", result.Group), err)
	}
	for i := range result.Partitions {
		row := &result.Partitions[i]
		if row.After == nil {
			continue
		}
		answer, ok := responses.Lookup(row.Topic, row.Partition)
		if ok && answer.Err == nil {
			continue
		}
		row.After, row.Note = nil, "failed"
		failures.add(fmt.Errorf("topic %q, partition %d: %w", row.Topic, row.Partition,
			groupError(result.Group, cmp.Or(answer.Err, errors.New("the broker's answer does not mention it")), "")))
	}
	return failures, nil
}

func (a *app) writeReset(result *resetResult, export, asJSON bool) error {
	switch {
	case asJSON:
		return a.writeJSON(result)
	case export:
		return a.writeOffsets(result.Partitions)
	}
	t := a.newTable(table.Left("TOPIC"), table.Right("PARTITION"), table.Right("BEFORE"), table.Right("AFTER"), table.Right("CHANGE"),
		table.Right("LAG AFTER"), table.Left("NOTE"))
	for i := range result.Partitions {
		row := &result.Partitions[i]
		change, lag := "-", "-"
		if row.After != nil {
			lag = fmt.Sprint(row.End - *row.After)
			if row.Before != nil {
				change = fmt.Sprintf("%+d", *row.After-*row.Before)
			}
		}
		t.Row(row.Topic, row.Partition, orDash(row.Before), orDash(row.After), change, lag, row.Note)
	}
	return t.Write(a.stdout)
}
