package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fanfold/fanfold/internal/table"
)

// help writes a command's help: what it does, its form, examples, the verbs
// below it, and its flags.
func (a *app) help(cmd *cobra.Command, _ []string) {
	var out strings.Builder
	section := func(title string) { out.WriteString("\n" + a.outStyle.heading(title) + "\n") }
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	out.WriteString(strings.TrimSpace(text) + "\n")

	section("Usage:")
	if cmd.HasAvailableSubCommands() {
		out.WriteString("  " + cmd.CommandPath() + " VERB [flags]\n")
	} else {
		out.WriteString("  " + cmd.UseLine() + "\n")
	}
	if cmd.Example != "" {
		section("Examples:")
		out.WriteString(strings.TrimRight(cmd.Example, "\n") + "\n")
	}
	a.helpVerbs(cmd, section, &out)
	if own := cmd.LocalFlags(); own.HasAvailableFlags() {
		if f := a.flagLines(own, func(f *pflag.Flag) bool { return cmd.HasParent() || !isClientFlag(f) }); f != "" {
			section("Flags:")
			out.WriteString(f)
		}
	}
	if isClientVerb(cmd) || !cmd.HasParent() {
		section("Flags of the client verbs:")
		out.WriteString(a.flagLines(cmd.Root().PersistentFlags(), isClientFlag))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&out, "\nEvery verb explains itself: %s VERB --help\n", cmd.CommandPath())
	}
	// Nothing is left to tell of an output that cannot be written.
	_, _ = a.stdout.Write([]byte(out.String()))
}

func (a *app) helpVerbs(cmd *cobra.Command, section func(string), out *strings.Builder) {
	groups := cmd.Groups()
	if len(groups) == 0 && cmd.HasAvailableSubCommands() {
		groups = []*cobra.Group{{Title: "Verbs:"}}
	}
	width := 0
	for _, verb := range cmd.Commands() {
		width = max(width, len(verb.Name()))
	}
	for _, group := range groups {
		section(group.Title)
		for _, verb := range cmd.Commands() {
			if verb.GroupID == group.ID && verb.IsAvailableCommand() {
				fmt.Fprintf(out, "  %-*s  %s\n", width, verb.Name(), verb.Short)
			}
		}
	}
}

func isClientFlag(f *pflag.Flag) bool { return f.Name == "brokers" || f.Name == "timeout" }

// flagLines writes the flags that keep keeps, one a line.
func (a *app) flagLines(flags *pflag.FlagSet, keep func(*pflag.Flag) bool) string {
	type line struct{ left, right string }
	var lines []line
	width := 0
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || !keep(f) {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		switch f.Name {
		case "help":
			usage = "show this text"
		case "version":
			usage = "show the version"
		}
		left := "      --" + f.Name
		if f.Shorthand != "" {
			left = "  -" + f.Shorthand + ", --" + f.Name
		}
		if value != "" {
			left += " " + value
		}
		width = max(width, min(table.Width(left), 34))
		lines = append(lines, line{left, usage + describeDefault(f)})
	})
	var out strings.Builder
	for _, l := range lines {
		if table.Width(l.left) > width {
			fmt.Fprintf(&out, "%s\n%*s  %s\n", l.left, width, "", l.right)
			continue
		}
		fmt.Fprintf(&out, "%-*s  %s\n", width, l.left, l.right)
	}
	return out.String()
}
