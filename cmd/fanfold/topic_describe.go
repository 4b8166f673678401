package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/internal/table"
	"github.com/fanfold/fanfold/internal/units"
)

// describedTopic is what `topic describe` tells of a topic. What a broker did
// not tell is null.
type describedTopic struct {
	Name       string               `json:"name"`
	ID         string               `json:"id,omitempty"`
	Internal   bool                 `json:"internal"`
	Replicas   int                  `json:"replicas"`
	Durability durability           `json:"durability"`
	Partitions []describedPartition `json:"partitions"`
	Configs    []describedConfig    `json:"configs"`
}

type describedPartition struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"`
	LeaderEpoch int32   `json:"leader_epoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	Offline     []int32 `json:"offline_replicas"`
	Start       *int64  `json:"start_offset"`
	End         *int64  `json:"end_offset"`
	Size        *int64  `json:"size_bytes"`
	Error       string  `json:"error,omitempty"`
}

type describedConfig struct {
	Name   string  `json:"name"`
	Value  *string `json:"value"`
	Source string  `json:"source"`
}

// durability says what an acknowledgement is worth.
type durability struct {
	Fsync         *bool  `json:"every_acknowledgement_is_fsynced"` // null: unknown
	Text          string `json:"text"`
	FlushMessages string `json:"flush.messages,omitempty"`
	FlushMillis   string `json:"flush.ms,omitempty"`
}

func newTopicDescribe(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     "describe NAME...",
		Aliases: []string{"show"},
		Short:   "Show a topic's partitions, configs and durability",
		Long: `Shows where each partition of a topic is led and stored, its first and next
offset and its size on the leader's disk, the configs that are not the default
and where each was set, and whether an acknowledgement means that a record is on
disk (flush.messages=1) or not yet.`,
		Example: `  fanfold topic describe orders
  fanfold topic describe orders clicks --all
  fanfold topic describe orders -o json | jq '.[0].partitions[].end_offset'`,
		Args:              withUsage(cobra.MinimumNArgs(1)),
		ValidArgsFunction: a.completeTopics(0),
	}
	cmd.Flags().BoolVar(&all, "all", false, "show every config, those with default values too")
	isJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		return a.withClient(cmd.Context(), func(ctx context.Context, c *client) error {
			return a.describeTopics(ctx, c, names, all, isJSON())
		})
	}
	return cmd
}

func (a *app) describeTopics(ctx context.Context, c *client, names []string, all, asJSON bool) error {
	details, err := c.admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return c.explain(ctx, "describe topics", err)
	}
	var failures perTopic
	var found []string
	for _, name := range names {
		t, ok := details[name]
		if ok && t.Err == nil {
			found = append(found, name)
			continue
		}
		failures.add(topicError(name, cmp.Or(t.Err, errNoSuchTopic), ""))
	}
	topics := []describedTopic{}
	if len(found) > 0 {
		if topics, err = gatherTopics(ctx, c, details, found, all); err != nil {
			return err
		}
	}
	if asJSON {
		err = a.writeJSON(topics)
	} else {
		err = a.writeDescribed(topics)
	}
	if err != nil {
		return err
	}
	return failures.report(a)
}

// gatherTopics asks for offsets, sizes and configs. Only the configs must be
// answered; brokers may lack or refuse the rest.
func gatherTopics(ctx context.Context, c *client, details kadm.TopicDetails, names []string, all bool) ([]describedTopic, error) {
	starts, err := c.admin.ListStartOffsets(ctx, names...)
	if ctx.Err() != nil {
		return nil, c.explain(ctx, "list offsets", err)
	}
	ends, err := c.admin.ListEndOffsets(ctx, names...)
	if ctx.Err() != nil {
		return nil, c.explain(ctx, "list offsets", err)
	}
	sizes := leaderSizes(ctx, c, details, names)
	configs, err := c.admin.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, c.explain(ctx, "describe configs", err)
	}
	topics := make([]describedTopic, 0, len(names))
	for _, name := range names {
		d := details[name]
		t := describedTopic{Name: name, Internal: d.IsInternal, Replicas: d.Partitions.NumReplicas(), Configs: []describedConfig{}}
		if d.ID != (kadm.TopicID{}) {
			t.ID = topicID(d.ID)
		}
		for _, p := range d.Partitions.Sorted() {
			dp := describePartition(p)
			dp.Start, dp.End = offsetOf(starts, name, p.Partition), offsetOf(ends, name, p.Partition)
			if size, ok := sizes[partitionOf{name, p.Partition}]; ok {
				dp.Size = &size
			}
			t.Partitions = append(t.Partitions, dp)
		}
		resource, err := configs.On(name, nil)
		if err == nil {
			err = resource.Err
		}
		if err != nil {
			return nil, fmt.Errorf("describe configs of %s: %s", name, protocolText(err, resource.ErrMessage))
		}
		t.Durability = durabilityOf(resource.Configs)
		t.Configs = describeConfigs(resource.Configs, all)
		topics = append(topics, t)
	}
	return topics, nil
}

type partitionOf struct {
	topic     string
	partition int32
}

// leaderSizes are the sizes of partitions on their leaders' disks, where
// brokers tell.
func leaderSizes(ctx context.Context, c *client, details kadm.TopicDetails, names []string) map[partitionOf]int64 {
	var set kadm.TopicsSet
	for _, name := range names {
		for p := range details[name].Partitions {
			set.Add(name, p)
		}
	}
	sizes := make(map[partitionOf]int64)
	dirs, err := c.admin.DescribeAllLogDirs(ctx, set)
	if err != nil && len(dirs) == 0 {
		return sizes
	}
	dirs.Each(func(dir kadm.DescribedLogDir) {
		dir.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if !p.IsFuture && details[p.Topic].Partitions[p.Partition].Leader == dir.Broker {
				sizes[partitionOf{p.Topic, p.Partition}] += p.Size
			}
		})
	})
	return sizes
}

func describePartition(p kadm.PartitionDetail) describedPartition {
	d := describedPartition{
		Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch,
		Replicas: listOf(p.Replicas), ISR: listOf(p.ISR), Offline: listOf(p.OfflineReplicas),
	}
	if p.Err != nil {
		d.Error = protocolText(p.Err, "")
	}
	return d
}

// listOf is a list that JSON writes as [] where it is empty.
func listOf(ids []int32) []int32 {
	return append([]int32{}, ids...)
}

func offsetOf(offsets kadm.ListedOffsets, topic string, partition int32) *int64 {
	o, ok := offsets.Lookup(topic, partition)
	if !ok || o.Err != nil {
		return nil
	}
	return &o.Offset
}

// describeConfigs keeps the configs to show, in the order of their names.
func describeConfigs(configs []kadm.Config, all bool) []describedConfig {
	shown := []describedConfig{}
	for _, c := range configs {
		if all || c.Source != kmsg.ConfigSourceDefaultConfig && c.Source != kmsg.ConfigSourceUnknown {
			shown = append(shown, describedConfig{Name: c.Key, Value: c.Value, Source: sourceName(c.Source)})
		}
	}
	slices.SortFunc(shown, func(x, y describedConfig) int { return cmp.Compare(x.Name, y.Name) })
	return shown
}

// sourceName says in a few words where a config was set.
func sourceName(s kmsg.ConfigSource) string {
	switch s {
	case kmsg.ConfigSourceDynamicTopicConfig:
		return "topic"
	case kmsg.ConfigSourceDynamicBrokerConfig:
		return "broker, changed at run time"
	case kmsg.ConfigSourceDynamicDefaultBrokerConfig:
		return "all brokers, changed at run time"
	case kmsg.ConfigSourceStaticBrokerConfig:
		return "broker's configuration"
	case kmsg.ConfigSourceDefaultConfig:
		return "default"
	}
	return strings.ToLower(strings.ReplaceAll(s.String(), "_", " "))
}

// durabilityOf reads flush.messages and flush.ms.
func durabilityOf(configs []kadm.Config) durability {
	value := func(name string) string {
		for i := range configs {
			if configs[i].Key == name {
				return configs[i].MaybeValue()
			}
		}
		return ""
	}
	d := durability{FlushMessages: value("flush.messages"), FlushMillis: value("flush.ms")}
	messages, err := strconv.ParseInt(d.FlushMessages, 10, 64)
	if err != nil {
		d.Text = "unknown: the broker does not tell flush.messages"
		return d
	}
	fsync := messages == 1
	d.Fsync = &fsync
	if fsync {
		d.Text = "every acknowledgement is fsynced (flush.messages=1)"
		return d
	}
	millis, err := strconv.ParseInt(d.FlushMillis, 10, 64)
	bounded := err == nil && millis < math.MaxInt64
	var limits []string
	if messages < math.MaxInt64 {
		limits = append(limits, fmt.Sprintf("after %s (flush.messages=%d)", plural(messages, "record"), messages))
	}
	if bounded {
		limits = append(limits, fmt.Sprintf("after %s (flush.ms=%d)", units.FormatMillis(millis), millis))
	}
	if len(limits) == 0 {
		d.Text = "relaxed: acknowledged before it is fsynced, whenever the operating system writes it (flush.messages and flush.ms set no limit)"
		return d
	}
	d.Text = "relaxed: acknowledged before it is fsynced, " + strings.Join(limits, " or ")
	return d
}

func (a *app) writeDescribed(topics []describedTopic) error {
	var out strings.Builder
	for i := range topics {
		if i > 0 {
			out.WriteByte('\n')
		}
		if err := a.writeTopic(&out, &topics[i]); err != nil {
			return err
		}
	}
	_, err := a.stdout.Write([]byte(out.String()))
	return err
}

func (a *app) writeTopic(out io.Writer, t *describedTopic) error {
	fmt.Fprintln(out, a.outStyle.heading(t.Name))
	if t.ID != "" {
		fmt.Fprintf(out, "  id          %s\n", t.ID)
	}
	fmt.Fprintf(out, "  partitions  %d\n  replicas    %d\n", len(t.Partitions), t.Replicas)
	if t.Internal {
		fmt.Fprintln(out, "  internal    yes")
	}
	fmt.Fprintf(out, "  durability  %s\n\n", t.Durability.Text)

	partitions := a.newTable(table.Right("PARTITION"), table.Right("LEADER"), table.Right("EPOCH"), table.Left("REPLICAS"), table.Left("ISR"),
		table.Left("OFFLINE"), table.Right("START"), table.Right("END"), table.Right("SIZE"), table.Left(""))
	partitions.Indent = "  "
	for _, p := range t.Partitions {
		leader := strconv.Itoa(int(p.Leader))
		if p.Leader < 0 {
			leader = "none"
		}
		size := "-"
		if p.Size != nil {
			size = units.FormatBytes(*p.Size)
		}
		partitions.Row(p.Partition, leader, p.LeaderEpoch, joinIDs(p.Replicas), joinIDs(p.ISR), joinIDs(p.Offline), orDash(p.Start), orDash(p.End), size, p.Error)
	}
	if err := partitions.Write(out); err != nil {
		return err
	}
	if len(t.Configs) == 0 {
		fmt.Fprintf(out, "\n  every config is the default; see them with: --all\n")
		return nil
	}
	configs := a.newTable(table.Left("CONFIG"), table.Left("VALUE"), table.Left("SET BY"))
	configs.Indent = "  "
	for _, c := range t.Configs {
		value := "(hidden)"
		if c.Value != nil {
			value = readableValue(c.Name, *c.Value)
		}
		configs.Row(c.Name, value, c.Source)
	}
	fmt.Fprintln(out)
	return configs.Write(out)
}

func joinIDs(ids []int32) string {
	if len(ids) == 0 {
		return "-"
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(texts, ",")
}

func orDash(n *int64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(*n, 10)
}
