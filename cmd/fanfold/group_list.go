package main

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fanfold/fanfold/internal/table"
)

// listedGroup is a line of `group list`. What a broker did not tell is "".
type listedGroup struct {
	Name         string `json:"name"`
	Type         string `json:"type"`
	State        string `json:"state"`
	ProtocolType string `json:"protocol_type"`
	Coordinator  int32  `json:"coordinator"`
}

// The states and types of groups, as Kafka names them.
var (
	groupStates = []string{"Empty", "Stable", "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling", "Dead"}
	groupTypes  = []string{"classic", "consumer", "share", "streams"}
)

func newGroupList(a *app) *cobra.Command {
	var states, types []string
	cmd := &cobra.Command{
		Use:     "list [PATTERN]",
		Aliases: []string{"ls"},
		Short:   "List groups",
		Long: `Lists groups with their type, state and coordinator, the broker that keeps them.
A pattern keeps the names that match it: * stands for any text, ? for one
character, [a-c] for one of a few.

States: Empty (offsets but no members), Stable, PreparingRebalance and
CompletingRebalance (classic), Assigning and Reconciling (consumer), Dead.
Types: classic, consumer (KIP-848), share (KIP-932), streams (KIP-1071).`,
		Example: `  fanfold group list
  fanfold group list 'billing-*'
  fanfold group list --state empty --type classic
  fanfold group list -o json | jq -r '.[].name'`,
		Args:              withUsage(cobra.MaximumNArgs(1)),
		ValidArgsFunction: a.completeGroups(1),
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "keep groups in this `state`; repeat it for more")
	cmd.Flags().StringSliceVar(&types, "type", nil, "keep groups of this `type`; repeat it for more")
	// The error is a flag that does not exist; these were just added.
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(groupStates, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(groupTypes, cobra.ShellCompDirectiveNoFileComp))
	isJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		pattern := "*"
		if len(args) == 1 {
			pattern = args[0]
		}
		if _, err := path.Match(pattern, ""); err != nil {
			return usagef("pattern %q: a [ is not closed", pattern)
		}
		states, err := canonical("--state", states, groupStates)
		if err != nil {
			return err
		}
		types, err := canonical("--type", types, groupTypes)
		if err != nil {
			return err
		}
		return a.withClient(cmd.Context(), func(ctx context.Context, c *client) error {
			groups, failures := listGroups(ctx, c, states, types)
			groups = slices.DeleteFunc(groups, func(g listedGroup) bool {
				match, _ := path.Match(pattern, g.Name)
				return !match && pattern != g.Name
			})
			if err := a.writeGroups(groups, isJSON()); err != nil {
				return err
			}
			return (&perTopic{failures}).report(a)
		})
	}
	return cmd
}

// canonical gives the words of a flag as Kafka writes them.
func canonical(flag string, words, known []string) ([]string, error) {
	var found []string
	for _, word := range words {
		i := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, word) })
		if i < 0 {
			return nil, usagef("%s %q: it is one of %s", flag, word, strings.Join(known, ", "))
		}
		found = append(found, known[i])
	}
	return found, nil
}

// listGroups asks all brokers for their groups, in the order of their names.
// Filters that brokers are too old for are applied here. A broker that fails is
// an error, and what the others told is given.
func listGroups(ctx context.Context, c *client, states, types []string) ([]listedGroup, []error) {
	req := kmsg.NewPtrListGroupsRequest()
	req.StatesFilter = append([]string{}, states...)
	req.TypesFilter = append([]string{}, types...)
	groups := []listedGroup{}
	var failures []error
	for _, shard := range c.RequestSharded(ctx, req) {
		err := shard.Err
		resp, ok := shard.Resp.(*kmsg.ListGroupsResponse)
		if err == nil && ok {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil || !ok {
			failures = append(failures, c.explain(ctx, fmt.Sprintf("list the groups of broker %d", shard.Meta.NodeID), err))
			continue
		}
		for _, g := range resp.Groups {
			l := listedGroup{Name: g.Group, Type: strings.ToLower(g.GroupType), State: g.GroupState, ProtocolType: g.ProtocolType, Coordinator: shard.Meta.NodeID}
			if keeps(states, l.State) && keeps(types, cmp.Or(l.Type, "classic")) {
				groups = append(groups, l)
			}
		}
	}
	slices.SortFunc(groups, func(x, y listedGroup) int { return cmp.Compare(x.Name, y.Name) })
	return groups, failures
}

// keeps tells whether a filter keeps a value. What is not told is kept.
func keeps(filter []string, value string) bool {
	return len(filter) == 0 || value == "" || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, value) })
}

func (a *app) writeGroups(list []listedGroup, asJSON bool) error {
	if asJSON {
		return a.writeJSON(list)
	}
	t := a.newTable(table.Left("NAME"), table.Left("TYPE"), table.Left("STATE"), table.Left("PROTOCOL TYPE"), table.Right("COORDINATOR"))
	for _, g := range list {
		t.Row(g.Name, cmp.Or(g.Type, "-"), cmp.Or(g.State, "-"), cmp.Or(g.ProtocolType, "-"), g.Coordinator)
	}
	return t.Write(a.stdout)
}
