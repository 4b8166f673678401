package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
)

// deletedTopic is a line of what `topic delete` tells.
type deletedTopic struct {
	Name   string `json:"name"`
	Result string `json:"result"` // deleted or missing
}

func newTopicDelete(a *app) *cobra.Command {
	var ifExists, yes bool
	cmd := &cobra.Command{
		Use:     "delete NAME...",
		Aliases: []string{"rm"},
		Short:   "Delete topics and their records",
		Long: `Deletes topics with all their records, which cannot be undone. On a terminal it
asks first; --yes answers.`,
		Example: `  fanfold topic delete orders
  fanfold topic delete orders clicks --yes
  fanfold topic delete scratch --if-exists --yes`,
		Args:              withUsage(cobra.MinimumNArgs(1)),
		ValidArgsFunction: a.completeTopics(0),
	}
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "a topic that does not exist is no failure")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	isJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		slices.Sort(names)
		names = slices.Compact(names)
		if !yes && a.inTerminal {
			if sure, err := a.confirm(cmd.Context(), "Delete "+strings.Join(names, ", ")+" and all records in it?"); err != nil || !sure {
				return cmp.Or(err, errors.New("nothing was deleted"))
			}
		}
		return a.withClient(cmd.Context(), func(ctx context.Context, c *client) error {
			return a.deleteTopics(ctx, c, names, ifExists, isJSON())
		})
	}
	return cmd
}

// confirm asks a question on the terminal. Only y or yes is a yes.
func (a *app) confirm(ctx context.Context, question string) (bool, error) {
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	answer, err := bufio.NewReader(newInput(ctx, a.stdin)).ReadString('\n')
	if ctx.Err() != nil {
		fmt.Fprintln(a.stderr)
		return false, errInterrupted
	}
	if err != nil && answer == "" {
		return false, nil
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

func (a *app) deleteTopics(ctx context.Context, c *client, names []string, ifExists, asJSON bool) error {
	responses, err := c.admin.DeleteTopics(ctx, names...)
	if err != nil {
		return c.explain(ctx, "delete topics", err)
	}
	var failures perTopic
	results := []deletedTopic{}
	for _, name := range names {
		r, ok := responses[name]
		switch {
		case !ok:
			failures.add(fmt.Errorf("topic %q: the broker's answer does not mention it", name))
		case errors.Is(r.Err, kerr.UnknownTopicOrPartition) && ifExists:
			results = append(results, deletedTopic{name, "missing"})
		case errors.Is(r.Err, kerr.UnknownTopicOrPartition):
			failures.add(fmt.Errorf("topic %q does not exist; --if-exists lets that be", name))
		case r.Err != nil:
			failures.add(topicError(name, r.Err, r.ErrMessage))
		default:
			results = append(results, deletedTopic{name, "deleted"})
		}
	}
	if asJSON {
		err = a.writeJSON(results)
	} else {
		for _, r := range results {
			text := "deleted " + r.Name
			if r.Result == "missing" {
				text = r.Name + " does not exist"
			}
			if _, err = fmt.Fprintln(a.stdout, text); err != nil {
				break
			}
		}
	}
	if err != nil {
		return err
	}
	return failures.report(a)
}
