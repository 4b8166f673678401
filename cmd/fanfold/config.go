package main

import (
	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/cluster/configs"
	"github.com/fanfold/fanfold/internal/table"
)

func newConfig(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the settings that a broker would start with",
		Args:  cobra.ArbitraryArgs,
		RunE:  groupOf,
	}
	cmd.AddCommand(newConfigShow(a))
	return cmd
}

// shownConfig is one line of `config show`.
type shownConfig struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
	Type   string `json:"type"`
	Unit   string `json:"unit,omitempty"`
	Doc    string `json:"doc"`
}

func newConfigShow(a *app) *cobra.Command {
	var flags settingsFlags
	var changed bool
	cmd := &cobra.Command{
		Use:   "show [flags]",
		Short: "Show every effective setting and where it came from",
		Long: `Shows every setting that "fanfold serve" would run with, and where its value
came from. A flag wins over an environment variable, that over the file of
--config, that over the default. The environment variable of a setting is its
name in capitals: log.retention.ms is FANFOLD_LOG_RETENTION_MS.
What a running broker was changed to by a client is shown by describing its
configs, not here.`,
		Example: `  fanfold config show
  fanfold config show --changed
  fanfold config show --config /etc/fanfold/server.properties --set num.partitions=8
  FANFOLD_LISTENERS=0.0.0.0:9092 fanfold config show -o json`,
		Args:              withUsage(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags.add(cmd.Flags())
	cmd.Flags().BoolVar(&changed, "changed", false, "only settings that are not at their default")
	isJSON := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := flags.load(cmd)
		if err != nil {
			return err
		}
		shown := s.show(changed)
		if isJSON() {
			return a.writeJSON(shown)
		}
		t := table.New(table.Left("SETTING"), table.Left("VALUE"), table.Left("FROM"))
		for _, c := range shown {
			t.Row(c.Name, c.Value, c.Origin)
		}
		return t.Write(a.stdout)
	}
	return cmd
}

// show lists the effective settings by name.
func (s settings) show(changedOnly bool) []shownConfig {
	var shown []shownConfig
	for _, e := range configs.DescribeBroker(configs.BrokerConfig{Static: s.static}) {
		origin, changed := s.origin[e.Name]
		if !changed {
			origin = "default"
		}
		if changedOnly && !changed {
			continue
		}
		value := ""
		if e.Value != nil {
			value = *e.Value
		}
		shown = append(shown, shownConfig{e.Name, value, origin, e.Type.String(), string(e.Unit), e.Doc})
	}
	return shown
}
