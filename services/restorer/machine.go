package restorer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

const (
	// triesMax is how often a machine's bytes are sent: a new machine begins anew each
	// time, and a connection that breaks at each disk's end must not fill a line for
	// ever.
	triesMax = 5
	// askPatience is how long another source is asked whether a machine lives on: it
	// may be the one that burnt down.
	askPatience = time.Minute
	// endPatience bounds the removal of what is half made when the process stops; the
	// next one goes on with it.
	endPatience = 15 * time.Second
	// keptMax bounds a file that says what a machine is, all of which are held in
	// memory. A vCenter's exporter keeps none over 8 MiB.
	keptMax = 16 << 20
)

// machineAllowed says what is wrong with an order of a whole machine.
func (r *room) machineAllowed(req schemas.RestoreRequested) error {
	d := req.Destination
	to, ok := r.deps.Sources[d.Source]
	switch {
	case d.Dir != "":
		return errors.New("destination has a dir and a source: want one of them")
	case !ok:
		return fmt.Errorf("source %q is not configured here", d.Source)
	case to == nil:
		return fmt.Errorf("source %q takes no machines back: restore into a folder", d.Source)
	case req.As != "" && req.As != string(vault.Raw) || len(req.Files) > 0 || len(req.Mapping) > 0:
		return errors.New("as, files and mapping are for a restore into a folder: into a source goes the whole machine")
	case d.InPlace && !req.Force:
		return errors.New("in place, the disks of the machine are written over: that needs force")
	}
	return nil
}

// bringBack restores a whole machine into a source. The row of the order stands
// before anything is begun; whoever finds it again, in whatever process, first ends
// what it left, and is told if it was finished.
func (r *room) bringBack(ctx context.Context, id schemas.UUID, req schemas.RestoreRequested, resumed bool, c *schemas.RestoreCompleted) error {
	to := r.deps.Sources[req.Destination.Source]
	p, err := r.point(ctx, req.Point)
	if err != nil {
		if resumed { // what an earlier process began must not stay because the point has gone
			_, endErr := r.endReturn(ctx, to, orderOf(id, req))
			err = errors.Join(err, endErr)
		}
		return err
	}
	b := &bring{room: r, to: to, p: p, order: orderOf(id, req)}
	if err := b.prepare(ctx, req); err != nil {
		return err
	}
	b.told = r.told(id, req.Point, b.size())
	done, err := b.run(ctx)
	c.Size, c.Written, c.Warnings = b.told.size, b.told.written, b.warnings
	if err != nil {
		if source.IsRefused(err) {
			return refusal{err}
		}
		return err
	}
	for _, f := range b.disks {
		c.Files = append(c.Files, f.Name)
	}
	c.Machine, c.Via = &schemas.MachineRef{Source: req.Destination.Source, ID: done.Machine, Name: done.Name}, done.Via
	c.Warnings = append(c.Warnings, done.Warnings...)
	return nil
}

func orderOf(id schemas.UUID, req schemas.RestoreRequested) source.Return {
	d := req.Destination
	return source.Return{Name: source.ReturnMark + id.String(), InPlace: d.InPlace, As: d.Name, Folder: d.Folder, Pool: d.Pool,
		Datastore: d.Datastore, Networks: d.Networks, PowerOn: d.PowerOn}
}

// endReturn removes what is half made, and waits for weather.
func (r *room) endReturn(ctx context.Context, to source.Destination, o source.Return) (done *source.Returned, err error) {
	err = retry(ctx, func() (err error) {
		done, err = to.EndReturn(ctx, o)
		return err
	})
	return done, err
}

// bring is one machine on its way back.
type bring struct {
	*room
	to       source.Destination
	p        *vault.Point
	order    source.Return
	disks    []*schemas.PointFile
	warnings []string
	told     *progress
	sent     bool // bytes went there in this try
	last     time.Time
}

// prepare completes the order by what the point says.
func (b *bring) prepare(ctx context.Context, req schemas.RestoreRequested) error {
	b.order.Machine, b.order.Kept = b.p.Machine.GetId(), map[string][]byte{}
	for _, f := range b.p.Files {
		if f.Kind == schemas.FileExported_KIND_DISK {
			b.disks = append(b.disks, f)
			b.order.Files = append(b.order.Files, fileOf(f))
			continue
		}
		if f.SizeBytes > keptMax {
			return refusal{fmt.Errorf("file %s has %d bytes, %d is the most of what says what a machine is", f.Name, f.SizeBytes, keptMax)}
		}
		kept := make(memory, f.SizeBytes)
		if err := retry(ctx, func() error { return b.deps.Reader.Restore(ctx, b.p, f, kept, vault.RestoreOptions{}) }); err != nil {
			return err
		}
		b.order.Kept[f.Key] = kept
	}
	return b.lives(ctx, req.Destination.Source)
}

func fileOf(f *schemas.PointFile) source.File {
	return source.File{Key: f.Key, Name: f.Name, Kind: f.Kind, Size: int64(f.SizeBytes)}
}

// lives finds out whether the machine lives on in the source that it is of, if that
// is another one: then what comes back is a copy. A source that does not answer is
// taken for lost, which is what restores are for.
func (b *bring) lives(ctx context.Context, destination string) error {
	home := b.p.Machine.GetSource()
	from := b.deps.Sources[home]
	if home == destination || from == nil || b.order.InPlace {
		return nil
	}
	ask, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	err := retry(ask, func() (err error) {
		b.order.Copy, err = from.Has(ask, b.order.Machine)
		return err
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		b.warnings = append(b.warnings, fmt.Sprintf("source %q does not say whether the machine lives on there (%v): it keeps its ids and addresses", home, err))
	}
	return nil
}

func (b *bring) size() (n uint64) {
	for _, f := range b.disks {
		n += f.SizeBytes
	}
	return n
}

// memory is a sink.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }
func (m memory) ReadAt(p []byte, off int64) (int, error)  { return copy(p, m[off:]), nil }
