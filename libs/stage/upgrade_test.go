package stage_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/topics"
)

var (
	old   = topics.Topic[words]{Spec: topics.Spec{Name: "jobs.old"}}
	added = topics.Topic[words]{Spec: topics.Spec{Name: "jobs.added"}}
)

// heard is what the members of both programs handled.
type heard struct {
	mu  sync.Mutex
	all []string
}

func (h *heard) hear(_ *stage.In, j words) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, j.Value)
	return nil
}

func (h *heard) has(word string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.all {
		if strings.HasPrefix(w, word) {
			n++
		}
	}
	return n
}

// In a rolling upgrade a stage begins to read a topic that its older members do not
// know. Both programs are one group: the old member goes on with its rooms, nobody
// stops, and records of the new topic in rooms that the old one holds wait, unread
// and uncommitted, until it leaves; then each is handled.
func TestATopicIsAddedInARollingUpgrade(t *testing.T) {
	const rooms = 4
	h := new(heard)
	today := stage.Define("upgraded", func(stage.Env) (func(*stage.Room) (*heard, error), error) {
		return func(*stage.Room) (*heard, error) { return h, nil }, nil
	}, stage.On(old, (*heard).hear))
	next := stage.Define("upgraded", func(stage.Env) (func(*stage.Room) (*heard, error), error) {
		return func(*stage.Room) (*heard, error) { return h, nil }, nil
	}, stage.On(old, (*heard).hear), stage.On(added, (*heard).hear))
	stagetest.Run(t, 0, next, rooms, func(b *stagetest.Bench) {
		send := func(t topics.Topic[words], word string) {
			for part := range int32(rooms) {
				b.Send(say(t, "k", fmt.Sprint(word, part)).To(part))
			}
		}
		b.Stage = today
		first := b.Join(0)
		time.Sleep(time.Minute)
		b.Stage = next
		b.Join(0)
		time.Sleep(time.Minute)
		send(old, "both-")
		send(added, "new-")
		time.Sleep(time.Minute)
		if n := h.has("both-"); n != rooms {
			t.Errorf("of what both know %d of %d are handled", n, rooms)
		}
		if n := h.has("new-"); n != rooms/2 {
			t.Errorf("of the new topic %d are handled, want those of the new member's %d rooms", n, rooms/2)
		}
		if n := b.Count(stage.Failed) + b.Count(stage.Renewed); n > 0 {
			b.Dump(20)
			t.Errorf("%d rooms or members failed", n)
		}
		first.Leave()
		time.Sleep(time.Minute)
		if n := h.has("new-"); n != rooms {
			t.Errorf("of the new topic %d of %d are handled when the old member has left", n, rooms)
		}
		for part, at := range b.Committed(added.Spec) {
			if at != 1 {
				t.Errorf("room %d of the new topic stands at %d", part, at)
			}
		}
	})
}
