package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func newGroup(a *app) *cobra.Command {
	cmd := markClient(&cobra.Command{
		Use:   "group",
		Short: "List, describe and delete consumer groups, and move their offsets",
		Long: `Works with consumer groups, of any client and of both protocols: the classic one
and KIP-848's ("consumer"). Each group reads every record of its topics; within
a group a partition has one reader at a time. What a group has read is kept as
one committed offset for each partition: the next that it will read.

To be a member of a group: fanfold consume TOPIC --group GROUP`,
		Example: `  fanfold group list
  fanfold group describe billing                       # members, offsets, lag
  fanfold group reset-offsets billing --topic orders --to-earliest
  fanfold group delete-offsets billing --topic old-orders
  fanfold group delete billing`,
		Args: cobra.ArbitraryArgs,
		RunE: groupOf,
	})
	cmd.AddCommand(newGroupList(a), newGroupDescribe(a), newGroupDelete(a), newGroupReset(a), newGroupDeleteOffsets(a))
	return cmd
}

var errNoSuchGroup = kerr.GroupIDNotFound

// noSuchGroupError says that a group is not there.
type noSuchGroupError struct{ name string }

func (e *noSuchGroupError) Error() string {
	return fmt.Sprintf("group %q does not exist (all groups: fanfold group list)", e.name)
}

// groupError explains what a broker said about a group, and the way out.
func groupError(name string, err error, message string) error {
	switch {
	case errors.Is(err, kerr.GroupIDNotFound):
		return &noSuchGroupError{name}
	case errors.Is(err, kerr.NonEmptyGroup), errors.Is(err, kerr.UnknownMemberID):
		return fmt.Errorf("group %q has active members; stop them first (who they are: fanfold group describe %s)", name, name)
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return fmt.Errorf("group %q: you are not allowed to do that (GROUP_AUTHORIZATION_FAILED)", name)
	}
	return fmt.Errorf("group %q: %s", name, protocolText(err, message))
}

// completeGroups offers the names of groups where a broker answers within a
// second.
func (a *app) completeGroups(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		quick, cancel := context.WithTimeout(cmd.Context(), time.Second)
		defer cancel()
		a.timeout = time.Second
		var names []string
		// Completion that fails offers nothing.
		_ = a.withClient(quick, func(ctx context.Context, c *client) error {
			groups, failures := listGroups(ctx, c, nil, nil)
			for _, g := range groups {
				if !slices.Contains(args, g.Name) {
					names = append(names, g.Name)
				}
			}
			return errors.Join(failures...)
		})
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// topicSpec is TOPIC or TOPIC:PARTITIONS of a flag.
type topicSpec struct {
	topic      string
	partitions []int32 // nil: all
}

// maxSpecPartitions is how many partitions a range of a flag may name.
const maxSpecPartitions = 1_000_000

// parseTopicSpecs reads the values of --topic: orders, orders:3, orders:0,2-5.
func parseTopicSpecs(texts []string) ([]topicSpec, error) {
	var specs []topicSpec
	for _, text := range texts {
		topic, list, some := strings.Cut(text, ":")
		spec := topicSpec{topic: topic}
		if topic == "" {
			return nil, usagef("--topic %q names no topic; write TOPIC or TOPIC:PARTITIONS, for example orders:0,2-5", text)
		}
		if slices.ContainsFunc(specs, func(s topicSpec) bool { return s.topic == topic }) {
			return nil, usagef("--topic names %q twice; write its partitions behind one another: %s:0,2-5", topic, topic)
		}
		if some {
			partitions, ok := parsePartitions(list)
			if !ok {
				return nil, usagef("--topic %q: %q is no list of partitions; write for example %s:0,2-5", text, list, topic)
			}
			spec.partitions = partitions
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// parsePartitions reads "0,2-5", into ascending numbers without doubles.
func parsePartitions(list string) ([]int32, bool) {
	partitions := []int32{}
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		from, err := strconv.ParseInt(first, 10, 32)
		if err != nil || from < 0 {
			return nil, false
		}
		to, err := strconv.ParseInt(last, 10, 32)
		if err != nil || to < from || int(to-from)+len(partitions) >= maxSpecPartitions {
			return nil, false
		}
		for p := from; p <= to; p++ {
			partitions = append(partitions, int32(p))
		}
	}
	slices.Sort(partitions)
	return slices.Compact(partitions), true
}

// selectTopics are the partitions that the specs name, in order; each topic
// must have them.
func selectTopics(ctx context.Context, c *client, specs []topicSpec) ([]partitionOf, error) {
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.topic
	}
	details, err := c.admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return nil, c.explain(ctx, "look for topics", err)
	}
	var selected []partitionOf
	for _, s := range specs {
		have, err := partitionNumbers(details, s.topic)
		if err != nil {
			return nil, err
		}
		for _, p := range s.partitions {
			if !slices.Contains(have, p) {
				return nil, noSuchPartition(s.topic, len(have), p)
			}
		}
		if s.partitions != nil {
			have = s.partitions
		}
		for _, p := range have {
			selected = append(selected, partitionOf{s.topic, p})
		}
	}
	return selected, nil
}

// partitionNumbers are a topic's partitions, in order.
func partitionNumbers(details kadm.TopicDetails, name string) ([]int32, error) {
	t, ok := details[name]
	switch {
	case !ok:
		return nil, topicError(name, errNoSuchTopic, "")
	case t.Err != nil:
		return nil, topicError(name, t.Err, "")
	}
	return t.Partitions.Numbers(), nil
}

func noSuchPartition(topic string, partitions int, p int32) error {
	return fmt.Errorf("topic %q has %s, numbered from 0, and no partition %d", topic, plural(int64(partitions), "partition"), p)
}
