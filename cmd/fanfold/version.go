package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker for a release: -X main.version=1.2.3
var version string

// versionInfo is what `version` tells.
type versionInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Time     string `json:"commit_time,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// readVersion gathers what the linker and the Go tool wrote into the binary.
func readVersion() versionInfo {
	v := versionInfo{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok {
		if v.Version == "" && info.Main.Version != "(devel)" {
			v.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Commit = s.Value
			case "vcs.time":
				v.Time = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	if v.Version == "" {
		v.Version = "devel"
	}
	return v
}

func newVersion(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program",
		Long:  "Shows the version, the commit it was built from, and the Go version and platform\nit was built with.",
		Example: `  fanfold version
  fanfold version -o json
  fanfold --version`,
		Args:              withUsage(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	isJSON := addOutput(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		v := readVersion()
		if isJSON() {
			return a.writeJSON(v)
		}
		commit := v.Commit
		if commit == "" {
			commit = "unknown"
		}
		if v.Modified {
			commit += " (modified)"
		}
		_, err := fmt.Fprintf(a.stdout, "fanfold   %s\ncommit    %s\ngo        %s\nplatform  %s\n", v.Version, commit, v.Go, v.Platform)
		return err
	}
	return cmd
}
