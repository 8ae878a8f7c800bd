package stage

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const (
	stampHeader = "stamps"
	traceHeader = "traceparent"

	// stampsMax bounds what a record carries of its way: 12 stages of about 60
	// bytes, doubled for long host names. A longer way is one that goes in a
	// circle (an attempt after an attempt), and begins anew.
	stampsMax = 1536
)

// Headers are a record's, in their order.
type Headers []kgo.RecordHeader

// Get returns the first header of that key, or nil.
func (h Headers) Get(key string) []byte {
	for _, x := range h {
		if x.Key == key {
			return x.Value
		}
	}
	return nil
}

// StampsOf returns what the stages on a record's way say of themselves, the
// oldest first.
func StampsOf(h Headers) ([]*schemas.Stamp, error) {
	var s schemas.Stamps
	if err := proto.Unmarshal(h.Get(stampHeader), &s); err != nil {
		return nil, fmt.Errorf("decode stamps: %w", err)
	}
	return s.Stamps, nil
}

// origin is what an emitted record says of the input that it comes from.
type origin struct {
	stamps []byte    // of the input, encoded
	start  time.Time // of the handler; zero: there is no input
	wait   time.Duration
	trace  []byte         // W3C trace context
	took   *time.Duration // what the stage says of itself; nil: since start
}

func (in *In) origin() origin {
	if in.rec == nil {
		return origin{trace: traceOf(in.Context, nil)}
	}
	h := Headers(in.rec.Headers)
	return origin{stamps: h.Get(stampHeader), start: in.start, wait: in.start.Sub(in.Time), trace: traceOf(in.Context, h.Get(traceHeader))}
}

// of is o for an event that says more of itself than the others do, else nil: how
// long it took, or that it is of another trace than the input.
func (o origin) of(e topics.Event) *origin {
	_, timed := e.Took()
	other := e.Trace() != "" && !sameTrace(e.Trace(), string(o.trace))
	if !timed && !other {
		return nil
	}
	if other {
		o.trace = []byte(e.Trace())
	}
	return &o
}

// timed is o with the time that the event says.
func (r *runner) timed(o origin, e topics.Event) origin {
	took, ok := e.Took()
	if !ok {
		return o
	}
	o.took = &took
	if o.start.IsZero() {
		o.start = r.env.Now().Add(-took)
	}
	return o
}

// headers of what is emitted now. A message's encoding is the concatenation of
// its parts', so our stamp is put behind those of the input without a look at them.
func (r *runner) headers(o origin) []kgo.RecordHeader {
	var hs []kgo.RecordHeader
	if !o.start.IsZero() {
		busy := r.env.Now().Sub(o.start)
		if o.took != nil {
			busy = *o.took
		}
		own, err := proto.Marshal(&schemas.Stamps{Stamps: []*schemas.Stamp{{
			Stage: r.stage.Name, StartUs: o.start.UnixMicro(), BusyUs: busy.Microseconds(),
			WaitUs: max(0, o.wait.Microseconds()), Worker: r.env.Worker,
		}}})
		if err != nil {
			panic(fmt.Sprintf("stage: encode the stamp of %s: %v", r.stage.Name, err)) // a worker's name that is not UTF-8
		}
		if len(o.stamps)+len(own) <= stampsMax {
			own = append(o.stamps[:len(o.stamps):len(o.stamps)], own...)
		}
		hs = append(hs, kgo.RecordHeader{Key: stampHeader, Value: own})
	}
	if len(o.trace) > 0 {
		hs = append(hs, kgo.RecordHeader{Key: traceHeader, Value: o.trace})
	}
	return hs
}
