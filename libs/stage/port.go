package stage

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/topics"
)

type kind int

const (
	other kind = iota // an output, or the clock
	stream
	table
	whole
	across
)

// Port joins a room R to topics, or to the clock.
type Port[R any] struct {
	topics []topics.Spec
	kind   kind
	writes bool
	wait   time.Duration                  // of a table across regions
	decode func(*kgo.Record) (any, error) // of a whole table, or one across regions
	bind   func(R, *body)
}

// On reads a stream: each event at least once, in the order of its partition.
// What does not decode is refused. An error that is not Refused is retried for
// ever, and the events behind it wait; tables, beats and the room's other
// streams go on. The message is the handler's to keep.
func On[R any, T proto.Message](t topics.Topic[T], h func(R, *In, T) error) Port[R] {
	return handled(t.Spec, stream, nil, func(r R, in *In, rec *kgo.Record) error {
		v, err := t.Decode(rec.Value)
		if err != nil {
			return Refuse(err)
		}
		in.msg = v
		return h(r, in, v)
	})
}

func handled[R any](t topics.Spec, k kind, begin func(R, Log) (int64, error), h func(R, *In, *kgo.Record) error) Port[R] {
	return Port[R]{topics: []topics.Spec{t}, kind: k, bind: func(r R, b *body) {
		in := input{handle: func(in *In, rec *kgo.Record) error { return h(r, in, rec) }}
		if begin != nil {
			in.begin = func(l Log) (int64, error) { return begin(r, l) }
		}
		b.inputs[t.Name] = in
	}}
}

// Raw is a record of a topic that is not protobuf.
type Raw struct {
	Key, Value []byte
	Headers    map[string]string
	Time       time.Time
}

func rawOf(rec *kgo.Record) Raw {
	raw := Raw{Key: rec.Key, Value: rec.Value, Headers: make(map[string]string, len(rec.Headers)), Time: rec.Timestamp}
	for _, h := range rec.Headers {
		raw.Headers[h.Key] = string(h.Value)
	}
	return raw
}

// OnRaw is On for topics whose records the handler decodes.
func OnRaw[R any](t topics.Raw, h func(R, *In, Raw) error) Port[R] {
	return handled(t.Spec, stream, nil, func(r R, in *In, rec *kgo.Record) error { return h(r, in, rawOf(rec)) })
}

// Recall reads a table: the room sees every row of its partition before its
// first event, and later rows as they come. A nil row is a tombstone. h may
// release holds; it cannot fail, and it must not block. A row that does not
// decode ends the room, loudly, and for as long as no newer row of its key stands
// behind it and no operator lets it pass (holdfast refused drop): it may be one that
// forbids something. So does one that makes h panic.
func Recall[R any, T proto.Message](t topics.Topic[T], h func(r R, key []byte, row T)) Port[R] {
	return RecallAt(t, nil, func(r R, key []byte, row T, _ int64) { h(r, key, row) })
}

// Log is a table's partition as a room finds it.
type Log struct {
	ID         [16]byte // of the topic; another after it was made anew
	Start, End int64    // the first offset that is kept, and the next to be written
}

// RecallAt is Recall for a room that keeps rows over its own end: begin says
// from which offset the room wants to see them. Rows before it may still come.
// An error of begin ends the room.
func RecallAt[R any, T proto.Message](t topics.Topic[T], begin func(R, Log) (from int64, err error),
	h func(r R, key []byte, row T, offset int64)) Port[R] {
	return handled(t.Spec, table, begin, func(r R, _ *In, rec *kgo.Record) (err error) {
		var v T
		if rec.Value != nil {
			if v, err = t.Decode(rec.Value); err != nil {
				return err
			}
		}
		h(r, rec.Key, v, rec.Offset)
		return nil
	})
}

// RecallRaw is RecallAt for a room that decodes rows itself, because it knows
// what to make of one that does not decode. value is nil in a tombstone.
func RecallRaw[R any, T proto.Message](t topics.Topic[T], begin func(R, Log) (from int64, err error),
	h func(r R, key, value []byte, offset int64)) Port[R] {
	return handled(t.Spec, table, begin, func(r R, _ *In, rec *kgo.Record) error {
		h(r, rec.Key, rec.Value, rec.Offset)
		return nil
	})
}

// Own is a table that the stage itself writes. Its rows come back through the
// log, so h sees them acknowledged, in the log's order, a rival's too. State
// that runs ahead of h is safe: a lost row ends the room, and with it that state.
func Own[R any, T proto.Message](t topics.Topic[T], h func(r R, key []byte, row T)) Port[R] {
	p := Recall(t, h)
	p.writes = true
	return p
}

// Whole reads every partition of a table, once per process and without a group.
// Each room sees all rows before its first event, and later ones as they come,
// in its own goroutine. Rooms share the rows: they must not be written to. Of a
// table with one partition, which is an order of things, every record is shown;
// of others the newest of each key. A bad row is as in Recall.
func Whole[R any, T proto.Message](t topics.Topic[T], h func(r R, key []byte, row T)) Port[R] {
	return shown(t.Spec, func(rec *kgo.Record) (any, error) { return t.Decode(rec.Value) }, func(r R, w row) {
		v, _ := w.value.(T)
		h(r, w.key, v)
	})
}

// WholeRaw is Whole for topics whose records the room decodes. Value is nil in a tombstone.
func WholeRaw[R any](t topics.Raw, h func(r R, rec Raw)) Port[R] {
	return shown(t.Spec, func(rec *kgo.Record) (any, error) { return rawOf(rec), nil }, func(r R, w row) {
		v, ok := w.value.(Raw)
		if !ok {
			v = Raw{Key: w.key}
		}
		h(r, v)
	})
}

func shown[R any](t topics.Spec, decode func(*kgo.Record) (any, error), h func(R, row)) Port[R] {
	return Port[R]{topics: []topics.Spec{t}, kind: whole, decode: decode, bind: func(r R, b *body) {
		b.shows[t.Name] = func(w row) { h(r, w) }
	}}
}

// Batch reads streams in blocks of one topic and partition, whose bounds are
// committed before h is called: after a crash the very same block comes again,
// marked Replay, so that a sink which knows a block by its bounds takes it once.
// An error is retried for ever with the same block.
func Batch[R any](ts []topics.Spec, lim Limits, h func(R, *Block) error) Port[R] {
	return Port[R]{topics: ts, kind: stream, bind: func(r R, b *body) {
		for _, t := range ts {
			b.inputs[t.Name] = input{limits: lim, batch: func(x *Block) error { return h(r, x) }}
		}
	}}
}

// Emits declares an output. To emit anything else is a bug and panics.
func Emits[R any](t topics.Spec) Port[R] { return Port[R]{topics: []topics.Spec{t}, writes: true} }

// Every calls h each d, first when the tables are recalled. Its errors are only
// told: the next beat is the retry.
func Every[R any](d time.Duration, h func(R, *In) error) Port[R] {
	return Port[R]{bind: func(r R, b *body) {
		b.beats = append(b.beats, beat{d, func(in *In) error { return h(r, in) }, new(trying)})
	}}
}

// Overdue shows h each hold that is older than age, once per age. The stage
// must release it with an answer: nothing is held silently.
func Overdue[R any](age time.Duration, h func(R, *Hold)) Port[R] {
	return Port[R]{bind: func(r R, b *body) {
		b.late = append(b.late, late{age, func(o *Hold) { h(r, o) }})
	}}
}

type beat struct {
	every  time.Duration
	do     func(*In) error
	trying *trying
}

type late struct {
	age time.Duration
	do  func(*Hold)
}
