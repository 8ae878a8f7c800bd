package stage

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// badRow is a row that no room may pass: it may be one that forbids something. It
// ends each room that reads it, until a newer row of its key stands behind it, or an
// operator says, in <table>.refused, that it may be passed.
type badRow struct {
	rec *kgo.Record
	err error
}

func (b *badRow) Error() string {
	return fmt.Sprintf("row %s/%d@%d, key %q: %v", b.rec.Topic, b.rec.Partition, b.rec.Offset, b.rec.Key, b.err)
}

func (b *badRow) Unwrap() error { return b.err }

// pardons are the bad rows that this process has met, and those that may be passed.
type pardons struct {
	mu    sync.Mutex
	met   map[string]*met // by RowDigest
	given map[string]bool // by RowDigest
}

type met struct {
	at   spot
	told map[int32]*trying // by room
}

// passes reports whether rec is a row that may be passed. It costs nothing where no
// row is.
func (r *runner) passes(rec *kgo.Record) bool {
	r.pardons.mu.Lock()
	defer r.pardons.mu.Unlock()
	return len(r.pardons.given) > 0 && r.pardons.given[r.digest(rec)]
}

func (r *runner) digest(rec *kgo.Record) string {
	return topics.RowDigest(r.specs[rec.Topic], rec.Partition, rec.Key, rec.Value)
}

// waiting are the partitions with rows that were met and not pardoned.
func (p *pardons) waiting() map[spot]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := map[spot]bool{}
	for digest, m := range p.met {
		if !p.given[digest] {
			at[spot{topic: m.at.topic, part: m.at.part}] = true
		}
	}
	return at
}

func (p *pardons) give(digest string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.given == nil {
		p.given = map[string]bool{}
	}
	p.given[digest] = true
}

// stop ends the room for a bad row, and lets operators know: once in <table>.refused,
// and the ledger once a minute.
func (m *Room) stop(b *badRow) {
	r, now := m.mem.run, time.Now()
	at := spot{b.rec.Topic, b.rec.Partition, b.rec.Offset}
	digest := r.digest(b.rec)
	r.pardons.mu.Lock()
	if r.pardons.met == nil {
		r.pardons.met = map[string]*met{}
	}
	row := r.pardons.met[digest]
	if row == nil {
		row = &met{at, map[int32]*trying{}}
		r.pardons.met[digest] = row
	}
	t := row.told[m.Number]
	first := t == nil
	if first {
		t = &trying{told: now.Add(-2 * sayEvery)}
		row.told[m.Number] = t
	}
	t.failed(now)
	tell := first || now.Sub(t.told) >= sayEvery
	if tell {
		t.told = now
	}
	n := Note{Kind: Stopped, Topic: at.topic, Part: m.Number, Offset: at.offset, Count: t.count, Since: t.since, Err: b}
	r.pardons.mu.Unlock()
	r.tell(n)
	if first {
		m.mem.notice(b, digest, m.Number)
	}
	if tell {
		n.Part = at.part
		m.mem.trouble(n, schemas.InputTroubled_OUTCOME_STOPPED, nil)
	}
	m.Fail(b)
}

// notice puts a bad row where operators look.
func (m *member) notice(b *badRow, digest string, room int32) {
	rec := m.run.aside(b.rec, (&In{Topic: b.rec.Topic, Part: b.rec.Partition, Offset: b.rec.Offset}).String(), b.err, topics.RecordMax)
	rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: topics.HeaderRow, Value: []byte(digest)},
		kgo.RecordHeader{Key: topics.HeaderStopped, Value: strconv.AppendInt(nil, int64(room), 10)})
	m.cl.Produce(m.life, rec, func(rec *kgo.Record, err error) {
		if err != nil && m.life.Err() == nil {
			m.run.tell(Note{Kind: Trouble, Topic: rec.Topic, Part: rec.Partition, Err: fmt.Errorf("a row that stops a room is not listed as refused: %w", err)})
		}
	})
}

// hearPardons reads what operators have said of the bad rows that we met: a room
// that is built anew after one asks, so a word is heard within its backoff, 30 s.
func (r *runner) hearPardons(ctx context.Context, cl *kgo.Client) {
	for at := range r.pardons.waiting() {
		if err := r.hearPardon(ctx, cl, r.refused[at.topic], at.part); err != nil && ctx.Err() == nil {
			r.tell(Note{Kind: Trouble, Topic: r.refused[at.topic], Part: at.part, Err: fmt.Errorf("look for words on bad rows: %w", err)})
		}
	}
}

func (r *runner) hearPardon(ctx context.Context, cl *kgo.Client, topic string, part int32) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	at, err := listOffset(ctx, cl, topic, part, logStart)
	if err != nil {
		return err
	}
	end, err := listOffset(ctx, cl, topic, part, logEnd)
	if err != nil {
		return err
	}
	own, err := kgo.NewClient(append([]kgo.Opt{kgo.FetchMaxWait(fetchWait),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {part: kgo.NewOffset().AtStart()}})}, r.env.Kafka...)...)
	if err != nil {
		return err
	}
	defer own.Close()
	for at < end {
		got := own.PollFetches(ctx)
		if err := got.Err0(); err != nil {
			return err
		}
		got.EachRecord(func(rec *kgo.Record) {
			at = rec.Offset + 1
			h := Headers(rec.Headers)
			if string(h.Get(topics.HeaderMark)) == topics.MarkDropped && h.Get(topics.HeaderRow) != nil {
				r.pardons.give(string(h.Get(topics.HeaderRow)))
			}
		})
	}
	return nil
}
