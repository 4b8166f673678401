package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/internal/table"
	"github.com/fanfold/fanfold/internal/units"
)

func newGroupDescribe(a *app) *cobra.Command {
	var noTimeLag bool
	cmd := &cobra.Command{
		Use:     "describe NAME...",
		Aliases: []string{"show"},
		Short:   "Show a group's members, offsets and lag",
		Long: `Shows a group's state, its members with their hosts and partitions, and for each
partition the committed offset (the next that the group will read), where the
log begins and ends, and two lags: LAG is how many offsets are not read yet,
TIME LAG how old the oldest unread record is. For the latter one record of each
partition is read, which --no-time-lag leaves out.

LAG is measured as Kafka's tools do, end minus committed: it counts records that
retention has deleted unread, which NOTE tells, and those of compacted topics
that are gone. Of a partition without a committed offset it is not known: where
its reader begins is the reader's choice.`,
		Example: `  fanfold group describe billing
  fanfold group describe billing shipping --no-time-lag
  fanfold group describe billing -o json | jq '.[0].lag'
  watch -n 2 fanfold group describe billing`,
		Args:              withUsage(cobra.MinimumNArgs(1)),
		ValidArgsFunction: a.completeGroups(0),
	}
	cmd.Flags().BoolVar(&noTimeLag, "no-time-lag", false, "do not read records to tell how old the oldest unread one is")
	isJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		return a.withClient(cmd.Context(), func(ctx context.Context, c *client) error {
			return a.describeGroups(ctx, c, names, !noTimeLag, isJSON())
		})
	}
	return cmd
}

func (a *app) describeGroups(ctx context.Context, c *client, names []string, timeLag, asJSON bool) error {
	found, failed := describeGroups(ctx, c, unique(names))
	var failures perTopic
	groups := []*groupState{}
	for _, name := range unique(names) {
		g := found[name]
		if g == nil {
			failures.add(failed[name])
			continue
		}
		err := g.fillPartitions(ctx, c)
		if err == nil && timeLag {
			err = g.fillTimeLag(ctx, a)
		}
		if err != nil {
			return err
		}
		groups = append(groups, g)
	}
	var err error
	if asJSON {
		err = a.writeJSON(groups)
	} else {
		err = a.writeDescribedGroups(groups)
	}
	if err != nil {
		return err
	}
	return failures.report(a)
}

// unique keeps the first of equal names.
func unique(names []string) []string {
	var kept []string
	for _, name := range names {
		if !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	return kept
}

func (a *app) writeDescribedGroups(groups []*groupState) error {
	var out strings.Builder
	for i, g := range groups {
		if i > 0 {
			out.WriteByte('\n')
		}
		if err := a.writeGroup(&out, g); err != nil {
			return err
		}
	}
	_, err := a.stdout.Write([]byte(out.String()))
	return err
}

func (a *app) writeGroup(out io.Writer, g *groupState) error {
	fmt.Fprintln(out, a.outStyle.heading(g.Name))
	fmt.Fprintf(out, "  state        %s\n  type         %s\n", cmp.Or(g.State, "-"), groupTypeText(g))
	fmt.Fprintf(out, "  assignor     %s\n", cmp.Or(g.Assignor, "-"))
	if g.Epoch != nil {
		fmt.Fprintf(out, "  epoch        %d, of the assignment %d\n", *g.Epoch, *g.AssignmentEpoch)
	}
	fmt.Fprintf(out, "  coordinator  %d (%s)\n  members      %d\n", g.Coordinator.ID, g.Coordinator.Address, len(g.Members))
	fmt.Fprintf(out, "  lag          %s\n", lagText(g))
	if len(g.Members) > 0 {
		fmt.Fprintln(out)
		if err := a.writeMembers(out, g); err != nil {
			return err
		}
	}
	if len(g.Partitions) > 0 {
		fmt.Fprintln(out)
		return a.writeGroupPartitions(out, g)
	}
	return nil
}

// groupTypeText is a group's type, and its protocol type where that says more.
func groupTypeText(g *groupState) string {
	switch {
	case g.Type == "consumer":
		return "consumer (KIP-848)"
	case g.ProtocolType == "":
		return g.Type
	}
	return g.Type + ", protocol type " + g.ProtocolType
}

// lagText is the lag of the whole group in words.
func lagText(g *groupState) string {
	behind, unknown := int64(0), int64(0)
	for i := range g.Partitions {
		switch lag := g.Partitions[i].Lag; {
		case lag == nil:
			unknown++
		case *lag > 0:
			behind++
		}
	}
	text := "none"
	switch {
	case len(g.Partitions) == 0:
		text = "-"
	case behind > 0:
		text = fmt.Sprintf("%s on %s", plural(g.Lag, "record"), plural(behind, "partition"))
		if g.LagMillis != nil {
			text += ", the oldest " + ageText(*g.LagMillis) + " old"
		}
	}
	if unknown > 0 {
		text += fmt.Sprintf("; not known of %s", plural(unknown, "partition"))
	}
	return text
}

// ageText is an age, to about three digits: "850ms", "2m14s", "3d4h".
func ageText(ms int64) string {
	const day = 24 * time.Hour
	d := time.Duration(ms) * time.Millisecond
	if d >= day {
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	}
	if d >= time.Hour {
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return units.FormatElapsed(d)
}

func (a *app) writeMembers(out io.Writer, g *groupState) error {
	columns := []table.Column{table.Left("MEMBER"), table.Left("INSTANCE"), table.Left("CLIENT"), table.Left("HOST")}
	if g.Type == "consumer" {
		columns = append(columns, table.Left("PROTOCOL"), table.Right("EPOCH"))
	}
	t := a.newTable(append(columns, table.Left("PARTITIONS"))...)
	t.Indent = "  "
	for i := range g.Members {
		m := &g.Members[i]
		row := []any{m.ID, "-", cmp.Or(m.ClientID, "-"), m.Host}
		if m.InstanceID != nil {
			row[1] = *m.InstanceID
		}
		if g.Type == "consumer" {
			row = append(row, m.Protocol, *m.Epoch)
		}
		text := partitionsText(m.Assigned)
		if len(m.Pending) > 0 {
			text += ", waits for " + partitionsText(m.Pending)
		}
		t.Row(append(row, text)...)
	}
	return t.Write(out)
}

// partitionsText is "orders:0-3,7 clicks:1".
func partitionsText(list []memberPartitions) string {
	var parts []string
	for _, t := range list {
		parts = append(parts, t.Topic+":"+numbersText(t.Partitions))
	}
	return cmp.Or(strings.Join(parts, " "), "-")
}

// numbersText writes ascending numbers with their runs joined: "0-3,7".
func numbersText(numbers []int32) string {
	var parts []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		text := strconv.Itoa(int(numbers[i]))
		if j > i {
			text += "-" + strconv.Itoa(int(numbers[j]))
		}
		parts = append(parts, text)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

func (a *app) writeGroupPartitions(out io.Writer, g *groupState) error {
	t := a.newTable(table.Left("TOPIC"), table.Right("PARTITION"), table.Right("COMMITTED"), table.Right("START"), table.Right("END"),
		table.Right("LAG"), table.Right("TIME LAG"), table.Left("MEMBER"), table.Left("NOTE"))
	t.Indent = "  "
	for i := range g.Partitions {
		p := &g.Partitions[i]
		age := "-"
		if p.LagMillis != nil {
			age = ageText(*p.LagMillis)
		}
		t.Row(p.Topic, p.Partition, orDash(p.Committed), orDash(p.Start), orDash(p.End), orDash(p.Lag), age, cmp.Or(p.Member, "-"), p.Note)
	}
	return t.Write(out)
}
