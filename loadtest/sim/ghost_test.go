//go:build synctests

package sim

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/services/scheduler"
	"github.com/holdfast-backup/holdfast/topics"
)

// ghost is another region on the same brokers, whose workers are all down: it has a
// machine, and an order for it, and nobody who does anything about it. The coordinators
// of such a house serve both regions; whatever else befalls them, ours comes to rest as if
// it were alone.
const ghost = "sim-0"

// haunted says whether a seed's house has one: one in four. It is not drawn, so that
// the rest of the seed is what it was.
func (w *world) haunted() bool { return w.seed%4 == 3 }

// haunt makes the ghost's topics, its machine and its first epoch, and orders a backup.
func (w *world) haunt() {
	if !w.haunted() {
		return
	}
	var many, single []string
	for _, s := range topics.All() {
		switch {
		case s.Kind == topics.Public:
		case s.Width == topics.Single:
			single = append(single, s.In(ghost))
		default:
			many = append(many, s.In(ghost), s.Refused().In(ghost))
		}
	}
	slices.Sort(many)
	for parts, names := range map[int32][]string{2: slices.Compact(many), 1: single} {
		made, err := kadm.NewClient(w.kafka.cl).CreateTopics(context.Background(), parts, 1, nil, names...)
		w.must(err)
		w.must(made.Error())
	}
	source := []byte("ghost")
	part := topics.KeyPart(source, 2)
	w.kafka.send(topics.EpochsTurned.Event([]byte("opened/1"), &schemas.EpochTurned{Epoch: 1, Turn: schemas.EpochTurned_TURN_OPENED}).For(ghost),
		topics.MachinesFound.Event([]byte("ghost\n"), &schemas.MachineFound{Source: &schemas.SourceFound{SnapshotsMax: 1, ShareBytes: 1 << 20, WindowBytes: 1 << 20, ListedMs: 1}}).To(part).For(ghost),
		topics.MachinesFound.Event([]byte("ghost\nvm"), &schemas.MachineFound{Machine: &schemas.Machine{Source: "ghost", Id: "vm", Name: "ghost"}}).To(part).For(ghost))
	w.publish(topics.BackupsRequested, "ghost", "ghost", schemas.BackupRequested{Machines: []string{"ghost/vm"}, NotAfter: time.Now().Add(100 * 24 * time.Hour).UTC()})
}

// regions are those that a coordinator serves; nil: ours alone.
func (p *process) regions() *stage.Regions {
	w := p.post.w
	if !w.haunted() || !slices.Contains(p.post.stages, "scheduler") && !slices.Contains(p.post.stages, "intake") {
		return nil
	}
	return stage.NewRegions(func(string) bool { return true }, scheduler.Intake(w.schedule()), scheduler.Stage(w.schedule()))
}

// haunting checks that the ghost was served all the while: its machine is leased, in its
// own region and in no other.
func (w *world) haunting() {
	if !w.haunted() {
		return
	}
	for _, s := range []topics.Spec{topics.BackupsQueued.Spec, topics.BackupsLeased.Spec, topics.MachinesTended.Spec} {
		written := int64(0)
		for _, p := range w.kafka.c.PartitionInfos(s.In(ghost)) {
			written += p.HighWatermark
		}
		w.check(written > 0, 10, "region %s, whose workers are down, has nothing in %s", ghost, s.Name)
	}
}
