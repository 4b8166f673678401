package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/internal/units"
)

// durationFlag is a duration above or at zero, with days and weeks.
type durationFlag time.Duration

func (d *durationFlag) Set(s string) error {
	v, err := units.ParseDuration(s)
	if err == nil && v < 0 {
		err = fmt.Errorf("%q is negative", s)
	}
	*d = durationFlag(v)
	return err
}

func (d *durationFlag) Type() string { return "duration" }

func (d *durationFlag) String() string {
	if d == nil || *d == 0 {
		return "0s"
	}
	return units.FormatMillis(time.Duration(*d).Milliseconds())
}

// sizeFlag is a number of bytes that fits in an int32.
type sizeFlag int32

func (s *sizeFlag) Set(text string) error {
	v, err := units.ParseBytes(text)
	if err == nil && (v < 1 || v > 1<<31-1) {
		err = fmt.Errorf("%q is not between 1 byte and 2 GiB", text)
	}
	*s = sizeFlag(v)
	return err
}

func (s *sizeFlag) Type() string   { return "size" }
func (s *sizeFlag) String() string { return units.FormatBytesExact(int64(*s)) }

// choiceFlag is one of a few words.
type choiceFlag struct {
	value   string
	choices []string
}

func choice(preset string, more ...string) *choiceFlag {
	return &choiceFlag{value: preset, choices: append([]string{preset}, more...)}
}

func (c *choiceFlag) Set(s string) error {
	if !slices.Contains(c.choices, s) {
		return fmt.Errorf("it is one of %s", strings.Join(c.choices, ", "))
	}
	c.value = s
	return nil
}

func (c *choiceFlag) Type() string   { return strings.Join(c.choices, "|") }
func (c *choiceFlag) String() string { return c.value }

// addChoice adds a choice flag and the completion of its words.
func addChoice(cmd *cobra.Command, c *choiceFlag, name, short, usage string) {
	cmd.Flags().VarP(c, name, short, usage)
	// The error is a flag that does not exist, and it was added above.
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(c.choices, cobra.ShellCompDirectiveNoFileComp))
}

// addOutput adds -o, and returns a function that tells whether it says json.
func addOutput(cmd *cobra.Command) (isJSON func() bool) {
	output := choice("table", "json")
	addChoice(cmd, output, "output", "o", "how to write the result")
	return func() bool { return output.value == "json" }
}
