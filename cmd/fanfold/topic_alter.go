package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/internal/table"
)

// errNoSuchTopic stands for a topic that an answer does not mention.
var errNoSuchTopic error = kerr.UnknownTopicOrPartition

// alteredTopic is what `topic alter` tells.
type alteredTopic struct {
	Name    string         `json:"name"`
	Applied bool           `json:"applied"` // false for --validate-only
	Changes []topicChanged `json:"changes"`
}

type topicChanged struct {
	What   string `json:"what"` // "partitions" or a config's name
	Before string `json:"before"`
	After  string `json:"after"`
}

type alterTopicFlags struct {
	partitions   int32
	configs      []string
	deletes      []string
	validateOnly bool
}

func newTopicAlter(a *app) *cobra.Command {
	var f alterTopicFlags
	cmd := &cobra.Command{
		Use:   "alter NAME",
		Short: "Change a topic's configs, or give it more partitions",
		Long: `Changes configs of a topic, takes them back to what the broker has set, and adds
partitions; then shows what each was before and is now. Configs that are not
named stay as they are. The number of partitions can only grow, and records with
a key may then go to another partition than those sent before.`,
		Example: `  fanfold topic alter orders -c retention.ms=30d -c max.message.bytes=4MiB
  fanfold topic alter orders --delete-config retention.ms
  fanfold topic alter orders --partitions 16
  fanfold topic alter orders -c segment.bytes=1k --validate-only`,
		Args:              withUsage(cobra.ExactArgs(1)),
		ValidArgsFunction: a.completeTopics(1),
	}
	flags := cmd.Flags()
	flags.Int32VarP(&f.partitions, "partitions", "p", 0, "`number` of partitions to grow to")
	flags.StringArrayVarP(&f.configs, "config", "c", nil, "`name=value` of a config; repeat it for more")
	flags.StringArrayVar(&f.deletes, "delete-config", nil, "`name` of a config that the broker's value shall hold for again")
	flags.BoolVar(&f.validateOnly, "validate-only", false, "ask the broker whether it would do it, and change nothing")
	completeConfigs(cmd, "config", "=")
	completeConfigs(cmd, "delete-config", "")
	isJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		settings, err := f.check(cmd)
		if err != nil {
			return err
		}
		return a.withClient(cmd.Context(), func(ctx context.Context, c *client) error {
			altered, err := alterTopic(ctx, c, &f, settings, args[0])
			if err != nil {
				return err
			}
			return a.writeAltered(altered, isJSON())
		})
	}
	return cmd
}

func (f *alterTopicFlags) check(cmd *cobra.Command) ([]setting, error) {
	settings, err := parseSettings(f.configs)
	if err != nil {
		return nil, err
	}
	for _, s := range settings {
		if slices.Contains(f.deletes, s.name) {
			return nil, usagef("config %s is both set and deleted", s.name)
		}
	}
	grows := cmd.Flags().Changed("partitions")
	if grows && f.partitions < 1 {
		return nil, usagef("--partitions must be at least 1")
	}
	if len(settings) == 0 && len(f.deletes) == 0 && !grows {
		return nil, usagef("nothing to change: give --config name=value, --delete-config name or --partitions number")
	}
	return settings, nil
}

func alterTopic(ctx context.Context, c *client, f *alterTopicFlags, settings []setting, name string) (*alteredTopic, error) {
	details, err := c.admin.ListTopicsWithInternal(ctx, name)
	if err != nil {
		return nil, c.explain(ctx, "alter topic", err)
	}
	topic, ok := details[name]
	if !ok || topic.Err != nil {
		return nil, topicError(name, cmp.Or(topic.Err, errNoSuchTopic), "")
	}
	before, err := configValues(ctx, c, name)
	if err != nil {
		return nil, err
	}
	altered := &alteredTopic{Name: name, Applied: !f.validateOnly}
	if f.partitions > 0 {
		if err := growTopic(ctx, c, name, len(topic.Partitions), f); err != nil {
			return nil, err
		}
		altered.Changes = append(altered.Changes, topicChanged{"partitions", fmt.Sprint(len(topic.Partitions)), fmt.Sprint(f.partitions)})
	}
	if len(settings)+len(f.deletes) == 0 {
		return altered, nil
	}
	if err := alterConfigs(ctx, c, f, settings, name); err != nil {
		return nil, err
	}
	after := before
	if !f.validateOnly {
		if after, err = configValues(ctx, c, name); err != nil {
			return nil, err
		}
	}
	for _, s := range settings {
		altered.Changes = append(altered.Changes, topicChanged{s.name, before[s.name], s.value})
	}
	for _, config := range f.deletes {
		altered.Changes = append(altered.Changes, topicChanged{config, before[config], after[config]})
	}
	return altered, nil
}

// growTopic adds partitions unless the topic has them already.
func growTopic(ctx context.Context, c *client, name string, have int, f *alterTopicFlags) error {
	if have == int(f.partitions) {
		return nil
	}
	if have > int(f.partitions) {
		return fmt.Errorf("topic %q has %s and cannot have fewer; create a new topic and copy the records", name, plural(int64(have), "partition"))
	}
	update := c.admin.UpdatePartitions
	if f.validateOnly {
		update = c.admin.ValidateUpdatePartitions
	}
	responses, err := update(ctx, int(f.partitions), name)
	if err != nil {
		return c.explain(ctx, "add partitions", err)
	}
	if r := responses[name]; r.Err != nil {
		return topicError(name, r.Err, r.ErrMessage)
	}
	return nil
}

func alterConfigs(ctx context.Context, c *client, f *alterTopicFlags, settings []setting, name string) error {
	var changes []kadm.AlterConfig
	for _, s := range settings {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: s.name, Value: kadm.StringPtr(s.value)})
	}
	for _, config := range f.deletes {
		changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: config})
	}
	alter := c.admin.AlterTopicConfigs
	if f.validateOnly {
		alter = c.admin.ValidateAlterTopicConfigs
	}
	responses, err := alter(ctx, changes, name)
	if err != nil {
		return c.explain(ctx, "alter configs", err)
	}
	r, err := responses.On(name, nil)
	if err == nil {
		err = r.Err
	}
	if errors.Is(err, kerr.InvalidConfig) && r.ErrMessage == "" {
		return fmt.Errorf("topic %q: the broker refuses a config's name or value (INVALID_CONFIG); known names: fanfold topic describe %s --all", name, name)
	}
	if err != nil {
		return topicError(name, err, r.ErrMessage)
	}
	return nil
}

// configValues are a topic's configs and their values.
func configValues(ctx context.Context, c *client, name string) (map[string]string, error) {
	resources, err := c.admin.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return nil, c.explain(ctx, "describe configs", err)
	}
	resource, err := resources.On(name, nil)
	if err == nil {
		err = resource.Err
	}
	if err != nil {
		return nil, topicError(name, err, resource.ErrMessage)
	}
	values := make(map[string]string, len(resource.Configs))
	for i := range resource.Configs {
		values[resource.Configs[i].Key] = resource.Configs[i].MaybeValue()
	}
	return values, nil
}

func (a *app) writeAltered(altered *alteredTopic, asJSON bool) error {
	if asJSON {
		return a.writeJSON(altered)
	}
	heading := "AFTER"
	if !altered.Applied {
		heading = "AFTER (not applied)"
	}
	t := a.newTable(table.Left("CONFIG"), table.Left("BEFORE"), table.Left(heading))
	for _, c := range altered.Changes {
		t.Row(c.What, readableValue(c.What, c.Before), readableValue(c.What, c.After))
	}
	return t.Write(a.stdout)
}
