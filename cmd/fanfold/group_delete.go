package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/internal/table"
)

// deletedGroup is a line of what `group delete` tells.
type deletedGroup struct {
	Name   string `json:"name"`
	Result string `json:"result"` // deleted or missing
}

func newGroupDelete(a *app) *cobra.Command {
	var ifExists, yes bool
	cmd := &cobra.Command{
		Use:     "delete NAME...",
		Aliases: []string{"rm"},
		Short:   "Delete groups and their committed offsets",
		Long: `Deletes groups that have no members, with their committed offsets, which cannot
be undone: a reader that comes again begins where its own settings say. On a
terminal it asks first; --yes answers.

To keep the offsets before: fanfold group reset-offsets NAME --export --all-topics`,
		Example: `  fanfold group delete billing
  fanfold group delete billing shipping --yes
  fanfold group delete scratch --if-exists --yes`,
		Args:              withUsage(cobra.MinimumNArgs(1)),
		ValidArgsFunction: a.completeGroups(0),
	}
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "a group that does not exist is no failure")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	isJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		slices.Sort(names)
		names = slices.Compact(names)
		if !yes && a.inTerminal {
			if sure, err := a.confirm(cmd.Context(), "Delete "+strings.Join(names, ", ")+" and what they have committed?"); err != nil || !sure {
				return cmp.Or(err, errors.New("nothing was deleted"))
			}
		}
		return a.withClient(cmd.Context(), func(ctx context.Context, c *client) error {
			return a.deleteGroups(ctx, c, names, ifExists, isJSON())
		})
	}
	return cmd
}

func (a *app) deleteGroups(ctx context.Context, c *client, names []string, ifExists, asJSON bool) error {
	responses, err := c.admin.DeleteGroups(ctx, names...)
	if err != nil && len(responses) == 0 {
		return c.explain(ctx, "delete groups", err)
	}
	var failures perTopic
	results := []deletedGroup{}
	for _, name := range names {
		r, ok := responses[name]
		switch {
		case !ok:
			failures.add(fmt.Errorf("group %q: %w", name, cmp.Or(c.explain(ctx, "", err), errors.New("the broker's answer does not mention it"))))
		case errors.Is(r.Err, kerr.GroupIDNotFound) && ifExists:
			results = append(results, deletedGroup{name, "missing"})
		case errors.Is(r.Err, kerr.GroupIDNotFound):
			failures.add(fmt.Errorf("group %q does not exist; --if-exists lets that be", name))
		case r.Err != nil:
			failures.add(groupError(name, r.Err, r.ErrMessage))
		default:
			results = append(results, deletedGroup{name, "deleted"})
		}
	}
	if asJSON {
		err = a.writeJSON(results)
	} else {
		err = a.writeDeletedGroups(results)
	}
	if err != nil {
		return err
	}
	return failures.report(a)
}

func (a *app) writeDeletedGroups(results []deletedGroup) error {
	for _, r := range results {
		text := "deleted " + r.Name
		if r.Result == "missing" {
			text = r.Name + " does not exist"
		}
		if _, err := fmt.Fprintln(a.stdout, text); err != nil {
			return err
		}
	}
	return nil
}

// deletedOffset is a line of what `group delete-offsets` tells.
type deletedOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"` // that was committed
}

func newGroupDeleteOffsets(a *app) *cobra.Command {
	var topics []string
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete-offsets NAME --topic TOPIC[:PARTITIONS]...",
		Short: "Delete what a group has committed for topics that it no longer reads",
		Long: `Deletes the committed offsets of a group for whole topics or some partitions, so
that they no longer count in its lag. The group may have members if none of them
subscribes to the topic. On a terminal it asks first; --yes answers.

A reader that comes again begins where its own settings say (the earliest or the
latest record). To move offsets instead: fanfold group reset-offsets`,
		Example: `  fanfold group delete-offsets billing --topic old-orders
  fanfold group delete-offsets billing --topic orders:0,2-5 --topic clicks --yes
  fanfold group delete-offsets billing --topic orders -o json`,
		Args:              withUsage(cobra.ExactArgs(1)),
		ValidArgsFunction: a.completeGroups(1),
	}
	cmd.Flags().StringArrayVar(&topics, "topic", nil, "`TOPIC[:PARTITIONS]` to forget, such as orders or orders:0,2-5; repeat it for more")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	_ = cmd.RegisterFlagCompletionFunc("topic", a.completeTopics(0))
	isJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		specs, err := parseTopicSpecs(topics)
		if err != nil {
			return err
		}
		if len(specs) == 0 {
			return usagef("say which offsets to delete: --topic TOPIC or --topic TOPIC:PARTITIONS")
		}
		if !yes && a.inTerminal {
			if sure, err := a.confirm(cmd.Context(), "Delete what "+args[0]+" has committed for "+strings.Join(topics, ", ")+"?"); err != nil || !sure {
				return cmp.Or(err, errors.New("nothing was deleted"))
			}
		}
		return a.withClient(cmd.Context(), func(ctx context.Context, c *client) error {
			return a.deleteOffsets(ctx, c, args[0], specs, isJSON())
		})
	}
	return cmd
}

func (a *app) deleteOffsets(ctx context.Context, c *client, group string, specs []topicSpec, asJSON bool) error {
	committed, err := committedOffsets(ctx, c, group)
	if err != nil {
		return err
	}
	doomed, err := matchCommitted(ctx, c, group, committed, specs)
	if err != nil {
		return err
	}
	var set kadm.TopicsSet
	for _, p := range doomed {
		set.Add(p.topic, p.partition)
	}
	responses, err := c.admin.DeleteOffsets(ctx, group, set)
	if err != nil {
		return deleteOffsetsError(ctx, c, group, err)
	}
	var failures perTopic
	results := []deletedOffset{}
	for _, p := range doomed {
		err, ok := responses.Lookup(p.topic, p.partition)
		switch {
		case !ok:
			failures.add(fmt.Errorf("topic %q, partition %d: the broker's answer does not mention it", p.topic, p.partition))
		case errors.Is(err, kerr.GroupSubscribedToTopic):
			failures.add(fmt.Errorf("topic %q, partition %d: members of group %q subscribe to the topic; stop them first (who they are: fanfold group describe %s)", p.topic, p.partition, group, group))
		case err != nil:
			failures.add(fmt.Errorf("topic %q, partition %d: %s", p.topic, p.partition, protocolText(err, "")))
		default:
			results = append(results, deletedOffset{p.topic, p.partition, committed[p].At})
		}
	}
	if err := a.writeDeletedOffsets(results, asJSON); err != nil {
		return err
	}
	return failures.report(a)
}

// matchCommitted are the partitions of the specs with a committed offset, in
// order; there must be some for each.
func matchCommitted(ctx context.Context, c *client, group string, committed map[partitionOf]kadm.Offset, specs []topicSpec) ([]partitionOf, error) {
	var matched []partitionOf
	for _, s := range specs {
		before := len(matched)
		for p := range committed {
			if p.topic == s.topic && (s.partitions == nil || slices.Contains(s.partitions, p.partition)) {
				matched = append(matched, p)
			}
		}
		if len(matched) > before {
			continue
		}
		if _, failed := describeGroups(ctx, c, []string{group}); len(committed) == 0 && failed[group] != nil {
			return nil, failed[group]
		}
		return nil, fmt.Errorf("group %q has committed nothing for topic %q (what it has: fanfold group describe %s)", group, s.topic, group)
	}
	slices.SortFunc(matched, comparePartitions)
	return matched, nil
}

func comparePartitions(x, y partitionOf) int {
	return cmp.Or(cmp.Compare(x.topic, y.topic), cmp.Compare(x.partition, y.partition))
}

func deleteOffsetsError(ctx context.Context, c *client, group string, err error) error {
	var answered *kerr.Error
	if errors.As(err, &answered) {
		return groupError(group, err, "")
	}
	return c.explain(ctx, fmt.Sprintf("delete offsets of group %q", group), err)
}

func (a *app) writeDeletedOffsets(results []deletedOffset, asJSON bool) error {
	if asJSON {
		return a.writeJSON(results)
	}
	if len(results) == 0 {
		return nil
	}
	t := a.newTable(table.Left("DELETED OF TOPIC"), table.Right("PARTITION"), table.Right("OFFSET"))
	for _, r := range results {
		t.Row(r.Topic, r.Partition, r.Offset)
	}
	return t.Write(a.stdout)
}
