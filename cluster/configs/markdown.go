package configs

import (
	"fmt"
	"strings"
)

// Markdown returns the table of configs as the text of docs/configuration.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Configuration

This page is generated from the table in ` + "`cluster/configs`" + `.

Names are Kafka's where Kafka has one. A value comes from the first of these places that has one:

1. the topic itself (` + "`fanfold topic alter`" + `, or any Kafka tool);
2. this node, set at run time;
3. all nodes, set at run time;
4. what the node was started with: a flag, ` + "`--set name=value`" + `, an environment variable (` + "`FANFOLD_`" + ` and the name in capitals, dots as underscores), the file given to ` + "`--config`" + `, in this order;
5. the default below.

Flags, environment and file also take sizes and durations with units: ` + "`1GiB`, `500MB`, `7d`, `1h30m`" + `. Only values whose behaviour Fanfold has are accepted; others are refused with the reason. An unknown name is refused, naming the nearest known one.

`)
	b.WriteString("## Topics\n\nEach can be set for a topic, and its default through the broker configs that the table names.\n")
	for _, group := range groupOrder {
		writeGroup(&b, Topic, group)
	}
	b.WriteString("\n## Groups\n\nEach can be set for a consumer group (resource type GROUP), and its default through the broker configs that the table names.\n")
	for _, group := range groupOrder {
		writeGroup(&b, Group, group)
	}
	b.WriteString("\n## Brokers\n\nThe update mode says when a config can change: read-only ones at a restart, the others at run time, for one node or for all. " +
		"Configs marked * are Fanfold's own.\n")
	for _, group := range groupOrder {
		writeGroup(&b, Broker, group)
	}
	return b.String()
}

func writeGroup(b *strings.Builder, kind Kind, group string) {
	first := true
	for _, d := range All(kind) {
		if d.Group != group {
			continue
		}
		if first {
			last := "Broker configs for the default"
			if kind == Broker {
				last = "Update mode"
			}
			fmt.Fprintf(b, "\n### %s\n\n| Name | Type | Default | Values | %s | What it does |\n|---|---|---|---|---|---|\n", group, last)
			first = false
		}
		writeRow(b, d)
	}
}

func writeRow(b *strings.Builder, d *Definition) {
	fallback := "none"
	switch {
	case d.NoDefault:
	case d.Default == "":
		fallback = "empty"
	default:
		fallback = ToHuman(d, d.Default)
	}
	name := "`" + d.Name + "`"
	if d.Own {
		name += " *"
	}
	last := d.Mode.String()
	if d.Kind == Topic {
		last = codes(d.Synonyms)
	}
	unit := d.Type.String()
	if d.Unit != NoUnit {
		unit += ", " + string(d.Unit)
	}
	valid := d.Valid.Text
	if d.Type == Boolean && valid == "" {
		valid = "true, false"
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", name, unit, fallback, valid, last, d.Doc)
}

func codes(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = "`" + n + "`"
	}
	return strings.Join(quoted, ", ")
}
