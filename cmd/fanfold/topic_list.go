package main

import (
	"context"
	"path"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/fanfold/fanfold/internal/table"
)

// listedTopic is a line of `topic list`.
type listedTopic struct {
	Name       string `json:"name"`
	ID         string `json:"id,omitempty"`
	Internal   bool   `json:"internal"`
	Partitions int    `json:"partitions"`
	Replicas   int    `json:"replicas"`
	Offline    int    `json:"partitions_without_leader"`
	Under      int    `json:"partitions_under_replicated"`
	Error      string `json:"error,omitempty"`
}

func newTopicList(a *app) *cobra.Command {
	var internal bool
	cmd := &cobra.Command{
		Use:     "list [PATTERN]",
		Aliases: []string{"ls"},
		Short:   "List topics",
		Long: `Lists topics with their partitions and replicas. A pattern keeps the names that
match it: * stands for any text, ? for one character, [a-c] for one of a few.
STATUS tells of partitions that have no leader or lack replicas in sync.`,
		Example: `  fanfold topic list
  fanfold topic list 'orders-*'
  fanfold topic list --internal -o json
  fanfold topic list --brokers kafka1:9092,kafka2:9092`,
		Args:              withUsage(cobra.MaximumNArgs(1)),
		ValidArgsFunction: a.completeTopics(1),
	}
	cmd.Flags().BoolVar(&internal, "internal", false, "show internal topics too")
	isJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		pattern := "*"
		if len(args) == 1 {
			pattern = args[0]
		}
		if _, err := path.Match(pattern, ""); err != nil {
			return usagef("pattern %q: a [ is not closed", pattern)
		}
		return a.withClient(cmd.Context(), func(ctx context.Context, c *client) error {
			topics, err := c.admin.ListTopicsWithInternal(ctx)
			if err != nil {
				return c.explain(ctx, "list topics", err)
			}
			return a.writeTopics(matchTopics(topics, pattern, internal), isJSON())
		})
	}
	return cmd
}

// matchTopics keeps the topics of a pattern, in the order of their names. A
// name written out is found even if it is internal.
func matchTopics(topics kadm.TopicDetails, pattern string, internal bool) []listedTopic {
	list := []listedTopic{}
	for _, t := range topics.Sorted() {
		if match, _ := path.Match(pattern, t.Topic); !match && pattern != t.Topic {
			continue
		}
		if t.IsInternal && !internal && pattern != t.Topic {
			continue
		}
		l := listedTopic{Name: t.Topic, Internal: t.IsInternal, Partitions: len(t.Partitions), Replicas: t.Partitions.NumReplicas()}
		if t.ID != (kadm.TopicID{}) {
			l.ID = topicID(t.ID)
		}
		if t.Err != nil {
			l.Error = protocolText(t.Err, "")
		}
		for _, p := range t.Partitions {
			if p.Leader < 0 {
				l.Offline++
			}
			if len(p.ISR) < len(p.Replicas) {
				l.Under++
			}
		}
		list = append(list, l)
	}
	return list
}

func (t *listedTopic) status() string {
	var parts []string
	if t.Error != "" {
		parts = append(parts, t.Error)
	}
	if t.Offline > 0 {
		parts = append(parts, strconv.Itoa(t.Offline)+" without a leader")
	}
	if t.Under > 0 {
		parts = append(parts, strconv.Itoa(t.Under)+" under-replicated")
	}
	if t.Internal {
		parts = append(parts, "internal")
	}
	if len(parts) == 0 {
		return "ok"
	}
	return strings.Join(parts, ", ")
}

func (a *app) writeTopics(list []listedTopic, asJSON bool) error {
	if asJSON {
		return a.writeJSON(list)
	}
	t := a.newTable(table.Left("NAME"), table.Right("PARTITIONS"), table.Right("REPLICAS"), table.Left("STATUS"))
	for i := range list {
		t.Row(list[i].Name, list[i].Partitions, list[i].Replicas, list[i].status())
	}
	return t.Write(a.stdout)
}

// newTable is a table in the style of standard output.
func (a *app) newTable(columns ...table.Column) *table.Table {
	t := table.New(columns...)
	t.Heading = a.outStyle.heading
	return t
}
