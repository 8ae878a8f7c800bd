package stagetest

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/holdfast-backup/holdfast/libs/stage"
)

// Count returns how many notes of that kind the members made.
func (b *Bench) Count(k stage.Kind) int { return len(b.Notes(k)) }

// Notes returns all notes of that kind.
func (b *Bench) Notes(k stage.Kind) []stage.Note {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.notes), func(n stage.Note) bool { return n.Kind != k })
}

// Begin, End and Tell make the bench a stage.Watch.
func (b *Bench) Begin(ctx context.Context, _ stage.Note) context.Context { return ctx }
func (b *Bench) End(_ context.Context, n stage.Note)                     { b.Tell(n) }
func (b *Bench) Tell(n stage.Note) {
	if n.Kind == stage.Panicked && !b.Bugs {
		b.T.Errorf("a handler panicked over %s/%d@%d: %v%s", n.Topic, n.Part, n.Offset, n.Err, stage.Stack(n.Err))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notes = append(b.notes, n)
}

// both tells the bench, and a Watch under test.
type both struct {
	b *Bench
	stage.Watch
}

func (w both) End(ctx context.Context, n stage.Note) { w.b.Tell(n); w.Watch.End(ctx, n) }
func (w both) Tell(n stage.Note)                     { w.b.Tell(n); w.Watch.Tell(n) }

// Hooks are those of the Watch under test.
func (w both) Hooks() []kgo.Hook {
	if h, ok := w.Watch.(interface{ Hooks() []kgo.Hook }); ok {
		return h.Hooks()
	}
	return nil
}

// Dump logs the last n notes that tell of trouble.
func (b *Bench) Dump(n int) {
	b.T.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var odd []stage.Note
	for _, note := range b.notes {
		if note.Kind != stage.Done && note.Kind != stage.Standing && (note.Kind != stage.Committed || note.Err != nil) {
			odd = append(odd, note)
		}
	}
	for _, p := range slices.Concat(b.Stage.Streams, b.Stage.Tables) {
		for _, i := range b.Cluster.PartitionInfos(p.In(Region)) {
			b.T.Logf("%s/%d ends at %d", p.Name, i.Partition, i.HighWatermark)
		}
	}
	for _, note := range odd[max(0, len(odd)-n):] {
		b.T.Logf("%+v", note)
	}
}

// reap does what a real broker's session timer does. kfake keeps a member for
// ever whose wire was cut while its join waited.
func (b *Bench) reap() {
	group := Region + "." + b.Stage.Name
	info, seen := b.Cluster.GroupInfo(group), map[string]int{}
	if info == nil {
		return
	}
	for _, m := range info.Members {
		seen[m.ClientID]++
	}
	for _, m := range info.Members {
		up := slices.ContainsFunc(b.up, func(o *Member) bool { return o.id == m.ClientID })
		if !up || seen[m.ClientID] > 1 || info.State != "Stable" {
			req, one := kmsg.NewPtrLeaveGroupRequest(), kmsg.NewLeaveGroupRequestMember()
			req.Group, one.MemberID = group, m.MemberID
			req.Members = append(req.Members, one)
			req.RequestWith(context.Background(), b.cl)
		}
	}
}
