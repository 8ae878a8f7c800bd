package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

func (a *app) restoreCommand() *cobra.Command {
	var req schemas.RestoreRequested
	var networks []string
	var wait bool
	c := &cobra.Command{
		Use:   "restore POINT (--to DIR [--file PATH ...] | --to-source NAME ...)",
		Short: "Restore a machine, or files of it, through the service",
		Long: "POINT is a path as `holdfast points` prints it, 8 characters or more of a backup's id, or a machine\n" +
			"for its newest point. DIR lies below one of restore.roots of the service.\n\n" +
			"With --to-source the whole machine goes into a source, such as a vCenter: as a new machine, with its ids\n" +
			"and MAC addresses if it is gone and with new ones if it is there; or --in-place, over the disks of the\n" +
			"machine that is there, which must be off and without snapshots: only what differs is written.",
		Example: "  holdfast restore web-01 --to /var/lib/holdfast/restored/web-01\n" +
			"  holdfast restore web-01 --to /srv/back --as ova\n" +
			"  holdfast restore 7c1f9a2e --to /srv/back --file disk0.raw --force\n" +
			"  holdfast restore web-01 --to-source vc-berlin --name web-01-copy --network VLAN10=Test\n" +
			"  holdfast restore web-01 --to-source vc-berlin --in-place --force",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if err := into(&req, networks); err != nil {
				return usage(err)
			}
			if _, err := vault.ParseFormat(req.As); err != nil {
				return usage(fmt.Errorf("--as: %w", err))
			}
			if req.Destination.Dir != "" {
				if req.Destination.Dir, err = filepath.Abs(req.Destination.Dir); err != nil {
					return err
				}
			}
			cfg, v, err := a.openVault(c.Context())
			if err != nil {
				return err
			}
			ring, err := vault.LoadRing(cfg.Keys.Dir, vault.MapKey)
			if err != nil {
				return err
			}
			r, err := v.Reader(ring)
			if err != nil {
				return err
			}
			all, _, err := points(c.Context(), r)
			if err != nil {
				return err
			}
			p, err := pick(all, args[0])
			if err != nil {
				return err
			}
			req.Point, req.Vault = p.Path, v.Name
			return a.restore(c.Context(), req, wait)
		},
	}
	f := c.Flags()
	f.StringVar(&req.Destination.Dir, "to", "", "the folder to restore into")
	f.StringArrayVar(&req.Files, "file", nil, "only this file; may be repeated")
	f.StringVar(&req.As, "as", "", asHelp)
	f.BoolVar(&req.Force, "force", false, "restore over files that are there, or over a machine in place")
	d := &req.Destination
	f.StringVar(&d.Source, "to-source", "", "the source to restore the machine into")
	f.StringVar(&d.Name, "name", "", "the new machine's name; by default the one it had, as for all that follow")
	f.StringVar(&d.Folder, "folder", "", "its folder: a path as `holdfast machines` shows it, or the end of one")
	f.StringVar(&d.Pool, "pool", "", "its cluster or resource pool")
	f.StringVar(&d.Datastore, "datastore", "", "its datastore")
	f.StringArrayVar(&networks, "network", nil, "OLD=NEW: on which network it is instead; may be repeated")
	f.BoolVar(&d.PowerOn, "power-on", false, "switch it on when it is whole")
	f.BoolVar(&d.InPlace, "in-place", false, "change the disks of the machine that is there; needs --force")
	f.BoolVar(&wait, "wait", true, "show progress until the end")
	return c
}

const asHelp = "what disks become: raw (default), vmdk (streamOptimized), qcow2, or ova: one file of all"

func (a *app) restore(ctx context.Context, req schemas.RestoreRequested, wait bool) error {
	cl, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	id := uuid.NewString()
	restore := schemas.RestoreID(eventSource(), id)
	if err := publish(ctx, cl, topics.RestoresRequested, eventSource(), id, req, restore.String()); err != nil {
		return err
	}
	a.say("restore %s", restore)
	if !wait {
		return nil
	}
	end, err := a.followRestore(ctx, cl, restore)
	if errors.Is(err, context.Canceled) {
		a.say("restore %s goes on", restore)
		return quiet(exitStopped)
	}
	if err != nil {
		return err
	}
	if a.format == "json" {
		if err := a.printJSON(a.out, map[string]any{"result": end}); err != nil {
			return err
		}
	}
	for _, w := range end.Warnings {
		a.say("warning: %s", w)
	}
	switch end.Status {
	case "completed":
		if a.format != "json" {
			fmt.Fprintln(a.out, restored(end))
			for _, w := range end.Warnings {
				a.say("warning: %s", w)
			}
		}
		return nil
	case "refused":
		return refused(fmt.Errorf("restore %s refused: %s", restore, end.Reason))
	}
	return fmt.Errorf("restore %s failed: %s", restore, end.Reason)
}

// waits is what a restore waits for, behind how far it is.
func waits(what string) string {
	if what == "" {
		return ""
	}
	return "; it waits: " + what
}

// followRestore shows a restore until it has ended.
func (a *app) followRestore(ctx context.Context, cl *client.Client, id schemas.UUID) (end schemas.RestoreCompleted, err error) {
	var told sync.WaitGroup
	defer told.Wait() // who called us has the word, and the end comes last
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	told.Go(func() {
		last := time.Time{}
		for rec, err := range cl.Follow(ctx, topics.RestoresProgressed.Spec, time.Hour) {
			if err != nil {
				return // the end, which is followed beside, will tell
			}
			e, err := schemas.DecodeEvent(rec.Headers, rec.Value)
			if err != nil {
				continue
			}
			p, err := schemas.ReadData[schemas.RestoreProgressed](e)
			if err == nil && p.Restore == id && p.Size > 0 && time.Since(last) > time.Second {
				last = time.Now()
				a.say("%s restored %.0f%% of %s%s", last.UTC().Format(time.RFC3339), 100*float64(p.Done)/float64(p.Size), human(p.Size), waits(p.WaitingFor))
			}
		}
	})
	for rec, err := range cl.Follow(ctx, topics.RestoresCompleted.Spec, time.Hour) {
		if err != nil {
			return end, err
		}
		e, err := schemas.DecodeEvent(rec.Headers, rec.Value)
		if err != nil {
			continue
		}
		if end, err := schemas.ReadData[schemas.RestoreCompleted](e); err == nil && end.Restore == id {
			return end, nil
		}
	}
	return end, ctx.Err()
}
