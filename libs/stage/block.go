package stage

import (
	"context"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/holdfast-backup/holdfast/topics"
)

// Limits say when a block is full: at so many records or bytes, or so long
// after its first record.
type Limits struct {
	Records int
	Bytes   int
	Wait    time.Duration
}

// Block is a run of records of one partition. It begins where the last one ended.
// First and Last name it for ever: if it comes again, it comes with the same
// bounds and, as far as the log still has them, the same records. See Gaps.
type Block struct {
	Spec        topics.Spec
	Topic       string // physical name
	Part        int32
	First, Last int64
	Records     []Record
	Replay      bool // it may have been taken before
	bytes       int
	since       time.Time
	open        bool // still being gathered
}

// Record is one of a Block.
type Record struct {
	Offset     int64
	Time       time.Time
	Key, Value []byte
	Headers    Headers
}

// Gap is a run of offsets.
type Gap struct{ First, Last int64 }

// Gaps are the offsets of the block whose records had left the log before we came
// to them. Where the stage never committed there is none: nothing was promised.
func (b *Block) Gaps() (gaps []Gap) {
	next := b.First
	for _, r := range b.Records {
		if r.Offset > next {
			gaps = append(gaps, Gap{next, r.Offset - 1})
		}
		next = r.Offset + 1
	}
	return gaps
}

// block takes one step with the feed's block: gathers, and when it is full
// commits its bounds and has it handled.
func (m *Room) block(f *feed) (busy bool) {
	if f.block == nil || f.block.open {
		if busy = m.gather(f); f.block == nil || f.block.open {
			return busy
		}
	} else if m.resting(f) {
		return false
	}
	b := f.block
	if f.intent < 0 {
		if err := m.intend(f, b.First, b.Last); err != nil {
			m.mem.run.tell(Note{Kind: Trouble, Topic: f.topic, Part: m.Number, Offset: b.First, Err: err})
			m.retry(f, func() {})
			return true
		}
	}
	in := &In{Context: m.ctx, Topic: f.topic, Part: m.Number, Offset: b.First, room: m}
	err := m.watched(in, &f.trying, func() error { return f.input.batch(b) })
	if m.ctx.Err() != nil {
		return false
	}
	if err != nil {
		b.Replay = true
		m.retry(f, func() {})
		return true
	}
	f.patience.Reset()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		f.block, f.floor, f.intent = nil, b.Last+1, -1
	}
	return true
}

func (m *Room) resting(f *feed) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return f.wait || m.closed || m.mem.draining.Load()
}

// gather adds to the feed's block, and closes it when it is full. A block whose
// bounds were committed is full when all up to its last offset is there.
func (m *Room) gather(f *feed) (busy bool) {
	for {
		b := f.block
		if b != nil && m.full(f, b) {
			b.open = false
			return true
		}
		if m.cutOff(f) {
			return true
		}
		rec := m.pop(f)
		if rec == nil {
			return busy
		}
		busy = true
		if b == nil {
			b = m.newBlock(f)
			f.block = b
		}
		b.Records = append(b.Records, Record{rec.Offset, rec.Timestamp, rec.Key, rec.Value, rec.Headers})
		b.bytes += size(rec)
		b.Last = rec.Offset
	}
}

// newBlock begins where the last one ended, even if the log does not reach so far
// back any more, or where committed bounds do, which is the same.
func (m *Room) newBlock(f *feed) *Block {
	m.mu.Lock()
	b := &Block{Spec: m.mem.run.specs[f.topic], Topic: f.topic, Part: f.part, First: f.floor, Replay: f.intent >= 0, since: time.Now(), open: true}
	m.mu.Unlock()
	if !b.Replay {
		m.after(f.limits.Wait, func() {}) // looks whether it is full
	}
	return b
}

func (m *Room) full(f *feed, b *Block) bool {
	if b.Replay {
		m.mu.Lock()
		defer m.mu.Unlock()
		if b.Last < f.intent && (len(f.queue) == 0 || f.queue[0].Offset <= f.intent) {
			return false
		}
		b.Last = f.intent
		return true
	}
	return len(b.Records) >= f.limits.Records || b.bytes >= f.limits.Bytes || time.Since(b.since) >= f.limits.Wait
}

// cutOff gives up a block of committed bounds that has left the log whole. The
// last owner's word counts from here, where records tell that the client knows
// our floor: a room may have asked for it before that.
func (m *Room) cutOff(f *feed) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(f.queue) > 0 && f.block == nil {
		if f.promised.last >= 0 && f.promised.first == f.floor {
			f.intent = f.promised.last
		}
		f.promised = unbound
	}
	if f.intent < 0 || f.block != nil || len(f.queue) == 0 || f.queue[0].Offset <= f.intent {
		return false
	}
	f.intent = -1 // the floor stays: what is gone is a gap of the next block
	return true
}

// intend commits the bounds of a block: it begins at the offset, and ends at the
// metadata. Not before this is acknowledged may the block be handled.
func (m *Room) intend(f *feed, first, last int64) error {
	ctx, cancel := context.WithTimeout(m.ctx, grace)
	defer cancel()
	if err := m.mem.commit(ctx, []claim{{m, f, first, last}}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f.floor, f.intent = first, last
	return nil
}

// intents reads what the last room of this number, here or elsewhere, was about to do.
func (m *Room) intents() {
	var names []string
	for _, f := range m.feeds {
		if f.input.batch != nil {
			names = append(names, f.topic)
		}
	}
	retry := patience(10 * time.Second)
	for len(names) > 0 && m.ctx.Err() == nil {
		got, err := kadm.NewClient(m.mem.cl).FetchOffsetsForTopics(m.ctx, m.mem.run.group(), names...)
		if err == nil {
			err = got.Error()
		}
		if err != nil {
			m.mem.run.tell(Note{Kind: Trouble, Part: m.Number, Err: err})
			pause(m.ctx, retry.NextBackOff())
			continue
		}
		m.mu.Lock()
		for _, f := range m.feeds {
			if o, ok := got.Lookup(f.topic, m.Number); ok && f.input.batch != nil {
				if last, err := strconv.ParseInt(o.Metadata, 10, 64); err == nil && last >= o.At {
					f.promised = bounds{o.At, last}
				}
			}
		}
		m.mu.Unlock()
		return
	}
}
