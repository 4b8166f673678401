package main

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/internal/units"
)

func newTopic(a *app) *cobra.Command {
	cmd := markClient(&cobra.Command{
		Use:   "topic",
		Short: "Create, list, describe, alter and delete topics",
		Long: `Works with topics: a topic is a number of partitions, each a log of its own,
and a set of configs, which have Kafka's names.`,
		Example: `  fanfold topic create orders -p 8 -c retention.ms=7d
  fanfold topic list
  fanfold topic describe orders
  fanfold topic alter orders -c retention.bytes=10GiB
  fanfold topic delete orders`,
		Args: cobra.ArbitraryArgs,
		RunE: groupOf,
	})
	cmd.AddCommand(newTopicCreate(a), newTopicList(a), newTopicDescribe(a), newTopicAlter(a), newTopicDelete(a))
	return cmd
}

// completeConfigs completes the name of a config, with an = behind it if a
// value must follow.
func completeConfigs(cmd *cobra.Command, flag, suffix string) {
	var names []string
	for _, def := range configs.All(configs.Topic) {
		names = append(names, def.Name+suffix)
	}
	// The error is a flag that does not exist; callers have just added it.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoSpace|cobra.ShellCompDirectiveNoFileComp))
}

// A setting is one config to be set.
type setting struct{ name, value string }

// parseSettings reads name=value pairs. Values of configs in milliseconds and
// bytes may have units: retention.ms=7d, segment.bytes=1GiB.
func parseSettings(pairs []string) ([]setting, error) {
	var settings []setting
	for _, pair := range pairs {
		name, value, found := strings.Cut(pair, "=")
		if name = strings.TrimSpace(name); !found || name == "" {
			return nil, usagef("config %q is not of the form name=value, for example retention.ms=7d", pair)
		}
		if slices.ContainsFunc(settings, func(s setting) bool { return s.name == name }) {
			return nil, usagef("config %s is given twice", name)
		}
		value, err := plainValue(name, strings.TrimSpace(value))
		if err != nil {
			return nil, usagef("config %s: %s", name, err)
		}
		settings = append(settings, setting{name, value})
	}
	return settings, nil
}

// plainValue is the number that brokers expect for a value with a unit.
func plainValue(name, value string) (string, error) {
	if _, err := strconv.ParseInt(value, 10, 64); err == nil {
		return value, nil
	}
	switch {
	case strings.HasSuffix(name, ".ms"):
		d, err := units.ParseDuration(value)
		return strconv.FormatInt(d.Milliseconds(), 10), err
	case strings.HasSuffix(name, ".bytes"):
		n, err := units.ParseBytes(value)
		return strconv.FormatInt(n, 10), err
	}
	return value, nil
}

// readableValue is a config's value, with its meaning behind it where the
// number alone is hard to read: "604800000 (7d)".
func readableValue(name, value string) string {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return value
	}
	meaning := value
	switch {
	case strings.HasSuffix(name, ".ms"):
		meaning = units.FormatMillis(n)
	case strings.HasSuffix(name, ".bytes"):
		meaning = units.FormatBytesExact(n)
	}
	if n == -1 && strings.HasPrefix(name, "retention.") {
		meaning = "no limit"
	}
	if meaning == value {
		return value
	}
	return value + " (" + meaning + ")"
}

// plural is "1 partition", "8 partitions".
func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return units.FormatCount(n) + " " + one + "s"
}

// topicID writes a topic's id as Kafka's own tools do: URL-safe base64 without
// padding.
func topicID(id kadm.TopicID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }
