package cli

import "github.com/spf13/cobra"

// commands is everything below holdfast, in the order of a newcomer's day.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.demoCommand(), a.vcenterCommand(), a.upCommand(),
		a.backupCommand(), a.jobsCommand(), a.policiesCommand(), a.machinesCommand(), a.pointsCommand(), a.restoreCommand(), a.verifyCommand(),
		a.vaultCommand(), a.targetCommand(), a.keysCommand(), a.ledgerCommand(), a.topicsCommand(), a.refusedCommand(),
		a.initCommand(), a.checkCommand(), a.runCommand(),
	}
}
