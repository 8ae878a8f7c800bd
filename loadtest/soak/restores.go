package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// restoring brings points back while the house dies, and compares what comes: into
// a folder, twice, or into the vCenter as another machine.
type restoring struct {
	*world
	rng *rand.Rand
}

func (r *restoring) work(ctx context.Context) error {
	for n := 0; r.working(); n++ {
		select {
		case <-time.After(time.Duration(500+r.rng.IntN(2500)) * time.Millisecond):
		case <-r.resting:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
		all := r.book.completed()
		if len(all) == 0 {
			continue
		}
		slices.SortFunc(all, func(a, b schemas.BackupCompleted) int { return cmp.Compare(a.Point, b.Point) })
		c := all[r.rng.IntN(len(all))]
		b, ok := r.bound(c)
		if !ok {
			continue
		}
		into := r.into
		if b.m.live && r.rng.IntN(3) == 0 {
			into = r.copy
		}
		if err := into(ctx, n, c, b); err != nil {
			return err
		}
	}
	return nil
}

// into restores a point into a folder by an event, and again by a command.
func (r *restoring) into(ctx context.Context, n int, c schemas.BackupCompleted, b bound) error {
	dir := filepath.Join(r.process.data, "restored", fmt.Sprint(n))
	end, err := r.ordered(ctx, schemas.RestoreRequested{Point: c.Point, Destination: schemas.RestoreDestination{Dir: dir}})
	if err != nil {
		return err
	}
	if end.Status != "completed" {
		r.tally.fault(notRestored, "%s of %s into %s: %s: %s", c.Backup, b.m.name, dir, end.Status, end.Reason)
		return nil
	}
	r.compare(c, b, dir)
	if r.rng.IntN(2) == 0 {
		return os.RemoveAll(dir)
	}
	for { // a command under a kill may fail; it is asked again until it was not
		if _, err := r.process.living(ctx); err != nil {
			return err
		}
		ctx, stop := context.WithTimeout(ctx, standing)
		_, err = r.process.holdfast(ctx, "restore", c.Point, "--to", dir, "--force")
		stop()
		if err == nil {
			break
		}
		if e, ok := errors.AsType[*exec.ExitError](err); ok && (e.ExitCode() == exitRefused || strings.Contains(err.Error(), said)) {
			r.tally.fault(notRestored, "%s of %s into %s, asked again: %v", c.Backup, b.m.name, dir, err)
			break
		}
		if !r.working() {
			return os.RemoveAll(dir)
		}
	}
	r.compare(c, b, dir)
	return os.RemoveAll(dir)
}

// How the command says that a restore itself came to nothing: all else is the kill.
const (
	exitRefused = 3
	said        = "holdfast: restore "
)

// copy restores a machine into the vCenter under another name, compares, and
// destroys it.
func (r *restoring) copy(ctx context.Context, n int, c schemas.BackupCompleted, b bound) error {
	name := fmt.Sprintf("copy-%d", n)
	end, err := r.ordered(ctx, schemas.RestoreRequested{Point: c.Point, Destination: schemas.RestoreDestination{Source: "vcenter", Name: name}})
	if err != nil {
		return err
	}
	if end.Status != "completed" || end.Machine == nil {
		r.tally.fault(notRestored, "%s of %s into the vCenter: %s: %s", c.Backup, b.m.name, end.Status, end.Reason)
		return nil
	}
	r.vc.gate.RLock()
	defer r.vc.gate.RUnlock()
	var disks [][]byte
	for i := range b.m.guest.disks {
		d := make([]byte, b.m.guest.size)
		if _, err := r.vc.vc.Disk(end.Machine.ID, i).ReadAt(d, 0); err != nil {
			r.tally.fault(notRestored, "%s of %s into the vCenter: %v", c.Backup, b.m.name, err)
			return nil
		}
		disks = append(disks, d)
	}
	r.tally.add(&r.tally.Restored)
	if err := b.m.guest.check(disks, b.lo, b.hi); err != nil {
		r.tally.fault(different, "%s of %s, restored as %s: %v", c.Backup, b.m.name, name, err)
	}
	return r.vc.vc.Destroy(end.Machine.ID)
}

// ordered asks for a restore until that is acknowledged, and waits for its end.
func (r *restoring) ordered(ctx context.Context, req schemas.RestoreRequested) (end schemas.RestoreCompleted, err error) {
	id := uuid.NewString()
	restore := schemas.RestoreID(sender, id)
	r.stir("restore")
	if err := r.publish(ctx, topics.RestoresRequested, id, req, restore.String()); err != nil {
		return end, err
	}
	err = r.book.until(ctx, func() bool {
		var ok bool
		end, ok = r.book.ended[restore]
		return ok
	})
	return end, err
}

// compare holds a restored folder against the machine that its backup was taken of.
func (r *restoring) compare(c schemas.BackupCompleted, b bound, dir string) {
	disks, err := disksBelow(dir, b.m.guest)
	if err == nil {
		err = b.m.guest.check(disks, b.lo, b.hi)
	}
	r.tally.add(&r.tally.Restored)
	if err != nil {
		r.tally.fault(different, "%s of %s, restored into %s: %v", c.Backup, b.m.name, dir, err)
	}
}

// disksBelow reads the disks of a restored machine, in the order of their names.
func disksBelow(dir string, g *guest) (disks [][]byte, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		st, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if st.Size() != g.size {
			continue // a descriptor
		}
		d, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		disks = append(disks, bytes.Clone(d))
	}
	return disks, nil
}
