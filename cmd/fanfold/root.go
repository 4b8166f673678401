package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fanfold/fanfold/internal/spelling"
)

// The groups of verbs, in the order of the help text.
const (
	groupBroker = "broker"
	groupClient = "client"
	groupOther  = "other"
)

var groupTitles = map[string]string{
	groupBroker: "The broker:",
	groupClient: "Topics, records and groups, on any Kafka broker:",
	groupOther:  "This program:",
}

// newRoot builds the tree of verbs.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "fanfold",
		Short: "A Kafka-compatible, Raft-replicated log broker in one binary",
		Long: `Fanfold is a Kafka-compatible log broker: topics are split into partitions, a
partition is one append-only log, and what was acknowledged is on disk.
Any Kafka client works with it, and the client verbs below work with any
Kafka broker.`,
		Example: `  fanfold topic create orders --partitions 8        a topic of 8 logs
  echo 'order 1' | fanfold produce orders           a record for each line
  fanfold consume orders --exit                     read them all, then stop
  fanfold topic describe orders                     where it lies, and how safe`,
		Version:           readVersion().Version,
		Args:              cobra.ArbitraryArgs,
		RunE:              groupOf,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetVersionTemplate("fanfold {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(a.help)
	a.addClientFlags(root.PersistentFlags())
	root.PersistentPreRunE = a.checkClientFlags
	register(root, groupBroker, newServe(a))
	register(root, groupBroker, newConfig(a))
	register(root, groupBroker, newLog(a))
	register(root, groupClient, newTopic(a))
	register(root, groupClient, newProduce(a))
	register(root, groupClient, newConsume(a))
	register(root, groupClient, newGroup(a))
	register(root, groupClient, newBench(a))
	register(root, groupOther, newVersion(a))
	register(root, groupOther, newCompletion(a))
	return root
}

// register adds a verb to a group of the help text.
func register(root *cobra.Command, group string, verb *cobra.Command) {
	if !root.ContainsGroup(group) {
		root.AddGroup(&cobra.Group{ID: group, Title: groupTitles[group]})
	}
	verb.GroupID = group
	root.AddCommand(verb)
}

// groupOf runs a command that only holds others: it shows its help, or names
// the nearest verb to one that does not exist.
func groupOf(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	fix := "see: " + cmd.CommandPath() + " --help"
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		fix = "did you mean: " + cmd.CommandPath() + " " + near[0]
	}
	return usagef("there is no verb %q in %s; %s", args[0], cmd.CommandPath(), fix)
}

// flagError turns a flag that does not parse into a usage error that names the
// nearest flag or where the flags are explained.
func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	see := "see: " + cmd.CommandPath() + " --help"
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		name := unknown.GetSpecifiedName()
		if near := nearestFlag(cmd, name); near != "" && unknown.GetSpecifiedShortnames() == "" {
			return usagef("%s: there is no flag --%s; did you mean: --%s", cmd.CommandPath(), name, near)
		}
	}
	return usagef("%s: %s; %s", cmd.CommandPath(), err, see)
}

func nearestFlag(cmd *cobra.Command, name string) string {
	best, bestDistance := "", 1+len(name)/2
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		d := spelling.Distance(name, f.Name)
		if strings.HasPrefix(f.Name, name) {
			d = 1
		}
		if d < bestDistance {
			best, bestDistance = f.Name, d
		}
	})
	return best
}

// clientVerb marks a command, with all below it, as one that takes the client
// flags.
const clientVerb = "client"

// markClient marks a verb as a client's.
func markClient(cmd *cobra.Command) *cobra.Command {
	cmd.Annotations = map[string]string{clientVerb: "yes"}
	return cmd
}

func isClientVerb(cmd *cobra.Command) bool {
	for ; cmd != nil; cmd = cmd.Parent() {
		if cmd.Annotations[clientVerb] != "" {
			return true
		}
	}
	return false
}

// addClientFlags adds the flags of the client verbs.
func (a *app) addClientFlags(flags *pflag.FlagSet) {
	brokers := []string{"localhost:9092"}
	if env := os.Getenv("FANFOLD_BROKERS"); env != "" {
		brokers = strings.Split(env, ",")
	}
	flags.StringSliceVarP(&a.brokers, "brokers", "b", brokers, "`HOST:PORT,...` of one or more brokers (environment: FANFOLD_BROKERS)")
	a.timeout = 30 * time.Second
	flags.Var((*durationFlag)(&a.timeout), "timeout", "give up on a broker that does not answer for this long")
}

// checkClientFlags refuses the client flags where they have no meaning.
func (a *app) checkClientFlags(cmd *cobra.Command, _ []string) error {
	if isClientVerb(cmd) {
		if a.timeout <= 0 {
			return usagef("--timeout must be above 0, for example 30s")
		}
		for i, b := range a.brokers {
			if a.brokers[i] = strings.TrimSpace(b); a.brokers[i] == "" {
				return usagef("--brokers holds an empty address; write for example: --brokers localhost:9092")
			}
		}
		return nil
	}
	for _, name := range []string{"brokers", "timeout"} {
		if f := cmd.Root().PersistentFlags().Lookup(name); f.Changed && cmd.Name() != "__complete" {
			return usagef("%s does not take --%s, which is for the client verbs", cmd.CommandPath(), name)
		}
	}
	return nil
}

// describeDefault is a flag's default as the help shows it, or "".
func describeDefault(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "0", "false", "[]", "0s", "-1":
		return ""
	}
	return fmt.Sprintf(" (default %s)", strings.Trim(f.DefValue, "[]"))
}
