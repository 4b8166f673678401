package main

import (
	"github.com/spf13/cobra"
)

func newCompletion(a *app) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Write a script that completes verbs, flags and topics in a shell",
		Long: `Writes a completion script for a shell to standard output. It completes verbs,
flags and their values, and the names of topics where a broker answers quickly.`,
		Example: `  source <(fanfold completion bash)                                  # this bash
  fanfold completion bash > /etc/bash_completion.d/fanfold           # every bash
  fanfold completion zsh > "${fpath[1]}/_fanfold"                    # zsh
  fanfold completion fish > ~/.config/fish/completions/fanfold.fish  # fish
  fanfold completion powershell | Out-String | Invoke-Expression     # PowerShell`,
		Args:      withUsage(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			default:
				return root.GenPowerShellCompletionWithDesc(a.stdout)
			}
		},
	}
}
