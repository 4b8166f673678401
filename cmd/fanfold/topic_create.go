package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// createdTopic is a line of what `topic create` tells.
type createdTopic struct {
	Name       string `json:"name"`
	Result     string `json:"result"` // created, exists or valid
	Partitions int32  `json:"partitions,omitempty"`
	Replicas   int16  `json:"replicas,omitempty"`
	ID         string `json:"id,omitempty"`
}

type createTopicFlags struct {
	partitions   int32
	replicas     int16
	configs      []string
	ifNotExists  bool
	validateOnly bool
}

func newTopicCreate(a *app) *cobra.Command {
	var f createTopicFlags
	cmd := &cobra.Command{
		Use:   "create NAME...",
		Short: "Create topics",
		Long: `Creates one or more topics. What is not given is the broker's choice: its
num.partitions and default.replication.factor, and its configs.

Values of configs named *.ms and *.bytes may have units: ms, s, m, h, d, w, and
KiB, MiB, GiB, TiB (1024) or KB, MB, GB, TB (1000).`,
		Example: `  fanfold topic create orders
  fanfold topic create orders --partitions 8 --replicas 3
  fanfold topic create clicks -p 16 -c retention.ms=7d -c segment.bytes=256MiB
  fanfold topic create metrics -c flush.messages=1000 -c flush.ms=1s   # faster, less safe
  fanfold topic create a b c --if-not-exists`,
		Args:              withUsage(cobra.MinimumNArgs(1)),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.Int32VarP(&f.partitions, "partitions", "p", 0, "`number` of partitions (default: the broker's num.partitions)")
	flags.Int16VarP(&f.replicas, "replicas", "r", 0, "`number` of replicas of each partition (default: the broker's)")
	flags.StringArrayVarP(&f.configs, "config", "c", nil, "`name=value` of a config; repeat it for more")
	flags.BoolVar(&f.ifNotExists, "if-not-exists", false, "let a topic be that exists already")
	flags.BoolVar(&f.validateOnly, "validate-only", false, "ask the broker whether it would create them, and create nothing")
	completeConfigs(cmd, "config", "=")
	isJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		configs, err := f.check(cmd)
		if err != nil {
			return err
		}
		return a.withClient(cmd.Context(), func(ctx context.Context, c *client) error {
			return a.createTopics(ctx, c, &f, configs, names, isJSON())
		})
	}
	return cmd
}

// check validates the flags; what was not given becomes -1, the broker's
// choice (CreateTopics version 4, KIP-464).
func (f *createTopicFlags) check(cmd *cobra.Command) (map[string]*string, error) {
	for _, given := range []struct {
		name  string
		value int64
		unset func()
	}{
		{"partitions", int64(f.partitions), func() { f.partitions = -1 }},
		{"replicas", int64(f.replicas), func() { f.replicas = -1 }},
	} {
		if !cmd.Flags().Changed(given.name) {
			given.unset()
		} else if given.value < 1 && given.value != -1 {
			return nil, usagef("--%s must be at least 1", given.name)
		}
	}
	settings, err := parseSettings(f.configs)
	if err != nil {
		return nil, err
	}
	configs := make(map[string]*string, len(settings))
	for _, s := range settings {
		configs[s.name] = kadm.StringPtr(s.value)
	}
	return configs, nil
}

func (a *app) createTopics(ctx context.Context, c *client, f *createTopicFlags, configs map[string]*string, names []string, asJSON bool) error {
	create := c.admin.CreateTopics
	if f.validateOnly {
		create = c.admin.ValidateCreateTopics
	}
	responses, err := create(ctx, f.partitions, f.replicas, configs, names...)
	if err != nil {
		return c.explain(ctx, "create topics", err)
	}
	var failures perTopic
	results := []createdTopic{}
	for _, name := range names {
		r, ok := responses[name]
		switch {
		case !ok:
			failures.add(fmt.Errorf("topic %q: the broker's answer does not mention it", name))
		case errors.Is(r.Err, kerr.TopicAlreadyExists) && f.ifNotExists:
			results = append(results, createdTopic{Name: name, Result: "exists"})
		case r.Err != nil:
			failures.add(topicError(name, r.Err, r.ErrMessage))
		default:
			t := createdTopic{Name: name, Result: "created", Partitions: max(0, r.NumPartitions), Replicas: max(0, r.ReplicationFactor)}
			if f.validateOnly {
				t.Result = "valid"
			} else if r.ID != (kadm.TopicID{}) {
				t.ID = topicID(r.ID)
			}
			results = append(results, t)
		}
	}
	if err := a.writeCreated(results, asJSON); err != nil {
		return err
	}
	return failures.report(a)
}

func (a *app) writeCreated(results []createdTopic, asJSON bool) error {
	if asJSON {
		return a.writeJSON(results)
	}
	for _, t := range results {
		shape := ""
		if t.Partitions > 0 {
			shape = ": " + plural(int64(t.Partitions), "partition")
			if t.Replicas > 0 {
				shape += ", " + plural(int64(t.Replicas), "replica")
			}
		}
		text := "created " + t.Name + shape
		switch t.Result {
		case "exists":
			text = t.Name + " exists already"
		case "valid":
			text = t.Name + " would be created" + shape
		}
		if _, err := fmt.Fprintln(a.stdout, text); err != nil {
			return err
		}
	}
	return nil
}
