package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/blob/probe"
	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

func (a *app) targetCommand() *cobra.Command {
	c := &cobra.Command{Use: "target", Aliases: []string{"targets"}, Short: "The vault's targets: what they are, and whether they keep what backups rest on",
		Example: "  holdfast target list\n  holdfast target probe t1"}
	c.AddCommand(
		&cobra.Command{Use: "list", Short: "Where each target is, and whose it says it is", Args: cobra.NoArgs,
			Example: "  holdfast target list\n  holdfast target list -o json",
			RunE:    func(c *cobra.Command, _ []string) error { return a.listTargets(c.Context()) }},
		&cobra.Command{Use: "probe [TARGET]...", Short: "Try what targets promise, and say which settings they need; puts a few objects and deletes them",
			Example: "  holdfast target probe\n  holdfast target probe t3 -o json",
			RunE:    func(c *cobra.Command, args []string) error { return a.probeTargets(c.Context(), args) }})
	return c
}

// configured is the targets of the configuration, which need not be right otherwise.
func (a *app) configured() ([]conf.Target, error) { return conf.LoadTargets(a.configPath()) }

// targetState is one target, as people see it.
type targetState struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Where string `json:"where"`
	Holds string `json:"holds,omitempty"` // whose it is
	Why   string `json:"why,omitempty"`   // it says nothing
	Free  *int64 `json:"freeBytes,omitempty"`
}

func (a *app) listTargets(ctx context.Context) error {
	all, err := a.configured()
	if err != nil {
		return err
	}
	states := make([]targetState, len(all))
	var wg sync.WaitGroup
	for i, t := range all {
		wg.Go(func() { states[i] = stateOf(ctx, t) })
	}
	wg.Wait()
	var rows [][]string
	for _, s := range states {
		free, holds := "-", s.Holds
		if s.Free != nil {
			free = a.bytesOf(uint64(*s.Free))
		}
		if s.Why != "" {
			holds = s.Why
		}
		rows = append(rows, []string{s.Name, s.Kind, s.Where, free, holds})
	}
	return a.table(map[string]any{"targets": states}, []string{"TARGET", "KIND", "WHERE", "FREE", "HOLDS"}, rows)
}

func stateOf(ctx context.Context, t conf.Target) targetState {
	s := targetState{Name: t.Name, Kind: t.Kind, Where: t.Where()}
	if t.Kind == "file" && !isTarget(t.Path) { // opening would make it
		s.Why = vault.ErrNoVault.Error()
		return s
	}
	opened, err := house.OpenTargets([]conf.Target{t})
	if err == nil {
		s.Holds, err = vault.WhoIs(ctx, opened[0].Store)
	}
	if err != nil {
		s.Why = err.Error()
		return s
	}
	if free, known := opened[0].Store.Free(ctx); known {
		s.Free = &free
	}
	return s
}

// probed is what was found of one target.
type probed struct {
	Target   string         `json:"target"`
	Where    string         `json:"where"`
	OK       bool           `json:"ok"`
	Findings probe.Findings `json:"findings"`
}

func (a *app) probeTargets(ctx context.Context, names []string) error {
	all, err := a.configured()
	if err != nil {
		return err
	}
	for _, n := range names {
		if !slices.ContainsFunc(all, func(t conf.Target) bool { return t.Name == n }) {
			return usage(fmt.Errorf("there is no target %q in %s", n, a.configPath()))
		}
	}
	var results []probed
	var rows [][]string
	well := true
	for _, t := range all { // one after another: they may share a line
		if len(names) > 0 && !slices.Contains(names, t.Name) {
			continue
		}
		a.say("%s at %s", t.Name, t.Where())
		p := probed{Target: t.Name, Where: t.Where(), OK: true, Findings: house.Probe(ctx, all, t)}
		for _, f := range p.Findings {
			p.OK = p.OK && f.State != probe.Bad
			rows = append(rows, []string{t.Name, f.Check, string(f.State), strings.TrimSpace(f.Says), f.Setting})
		}
		well = well && p.OK
		results = append(results, p)
	}
	if err := a.table(map[string]any{"targets": results}, []string{"TARGET", "CHECK", "STATE", "SAYS", "SET"}, rows); err != nil {
		return err
	}
	if !well {
		return quiet(exitFailed)
	}
	return nil
}
