package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (m *member) commitEachSecond() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-m.life.Done():
			return
		}
		ctx, cancel := context.WithTimeout(m.life, grace)
		m.commitRooms(ctx, nil)
		cancel()
		m.standing()
	}
}

// commitTries is how often the last commit of a room is tried: what it does not
// cover is done again elsewhere.
const commitTries = 3

// claim is one partition of a commit.
type claim struct {
	m      *Room
	f      *feed
	floor  int64
	intent int64 // the last offset of a block that is begun, or -1
}

// commitRooms writes the floors of rooms, or, if nil, of all that are ours.
func (m *member) commitRooms(ctx context.Context, rooms []*Room) error {
	m.commits <- struct{}{}
	defer func() { <-m.commits }()
	if rooms == nil {
		m.mu.Lock()
		rooms = slices.Collect(maps.Values(m.rooms))
		m.mu.Unlock()
	}
	var claims []claim
	for _, room := range rooms {
		room.mu.Lock()
		for _, f := range room.feeds {
			if !f.table && f.floor != f.sent {
				claims = append(claims, claim{room, f, f.floor, f.intent})
			}
		}
		room.mu.Unlock()
	}
	return m.send(ctx, claims)
}

// commit writes the claims of one room, if it still lives.
func (m *member) commit(ctx context.Context, claims []claim) error {
	m.commits <- struct{}{}
	defer func() { <-m.commits }()
	if claims[0].m.ctx.Err() != nil {
		return errGone
	}
	return m.send(ctx, claims)
}

// send is called under the commits lock, which covers reading the floors and
// writing them: so no commit of a room can come after the one of its revoke.
func (m *member) send(ctx context.Context, claims []claim) (err error) {
	if len(claims) == 0 {
		return nil
	}
	batch := map[string]map[int32]kgo.EpochOffset{}
	for _, c := range claims {
		if batch[c.f.topic] == nil {
			batch[c.f.topic] = map[int32]kgo.EpochOffset{}
		}
		batch[c.f.topic][c.m.Number] = kgo.EpochOffset{Epoch: -1, Offset: c.floor}
	}
	var failed error
	var said answers
	m.cl.CommitOffsetsSync(kgo.PreCommitFnContext(ctx, lastWords(claims)), batch, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		failed, said = err, m.run.answersOf(resp)
	})
	for _, c := range claims {
		refused := cmp.Or(failed, said.of(c))
		m.run.tell(Note{Kind: Committed, Topic: c.f.topic, Part: c.m.Number, Offset: c.floor, Err: refused})
		if refused != nil {
			err = refused
			continue
		}
		c.m.mu.Lock()
		due := c.f.acknowledged(c.floor)
		c.m.mu.Unlock()
		for _, f := range due {
			c.m.owe(f)
		}
	}
	return err
}

// lastWords run when the request has its generation, and before it is sent. They
// put the ends of blocks beside their beginnings, as metadata.
func lastWords(claims []claim) func(*kmsg.OffsetCommitRequest) error {
	return func(req *kmsg.OffsetCommitRequest) error {
		for _, c := range claims {
			if c.m.lost.Load() {
				return errGone
			}
		}
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				p := &req.Topics[i].Partitions[j]
				p.Metadata = nil
				for _, c := range claims {
					if c.intent >= 0 && c.f.topic == req.Topics[i].Topic && c.m.Number == p.Partition {
						p.Metadata = kmsg.StringPtr(strconv.FormatInt(c.intent, 10))
					}
				}
			}
		}
		return nil
	}
}

type claimKey struct {
	topic string
	part  int32
}

var errNoAnswer = errors.New("the broker does not say whether it took the commit")

// answers are the broker's words on each partition: a commit may fail in part,
// within an answer that does not.
type answers map[claimKey]error

func (r *runner) answersOf(resp *kmsg.OffsetCommitResponse) answers {
	got := answers{}
	if resp == nil {
		return got
	}
	for _, t := range resp.Topics {
		if t.Topic == "" { // from version 10 on
			t.Topic = r.names[t.TopicID]
		}
		for _, p := range t.Partitions {
			got[claimKey{t.Topic, p.Partition}] = kerr.ErrorForCode(p.ErrorCode)
		}
	}
	return got
}

func (a answers) of(c claim) error {
	err, ok := a[claimKey{c.f.topic, c.m.Number}]
	if !ok {
		err = errNoAnswer
	}
	if err != nil {
		return fmt.Errorf("commit %s/%d: %w", c.f.topic, c.m.Number, err)
	}
	return nil
}

// standing tells how far each room is behind its logs, and what it holds.
func (m *member) standing() {
	m.mu.Lock()
	rooms := slices.Collect(maps.Values(m.rooms))
	m.mu.Unlock()
	for _, room := range rooms {
		var notes []Note
		room.mu.Lock()
		for _, f := range room.feeds {
			at := f.floor
			if f.table {
				at = f.next - int64(len(f.queue))
			}
			n := Note{Kind: Standing, Topic: f.topic, Part: room.Number, Held: len(f.open)}
			if at >= 0 {
				n.Count = max(0, f.high-at)
			}
			if n.Count != f.told.Count || n.Held != f.told.Held {
				f.told = n
				notes = append(notes, n)
			}
		}
		room.mu.Unlock()
		for _, n := range notes {
			m.run.tell(n)
		}
	}
}
