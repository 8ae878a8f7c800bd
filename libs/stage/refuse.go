package stage

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// refusal is what an input leaves behind that no retry will cure: itself, with
// the reason, and word to the auditor if it is of a Run. A fault that cannot be
// taken in must not breed another.
func (m *member) refusal(in *In, why error) []*kgo.Record {
	r, rec := m.run, in.rec
	recs := []*kgo.Record{r.aside(rec, in.String(), why, topics.RecordMax)}
	run := runOf(in)
	if run == nil || rec.Topic == topics.BackupsFaulted.In(r.env.Region) {
		return recs
	}
	why = fmt.Errorf("%s: %w", in, why)
	return append(recs, m.records([]topics.Event{m.faulted(run, "refused", why, isTooLarge(why))}, in.origin())...)
}

// aside is rec for <topic>.refused. Of a value that does not fit beside the headers
// the first most bytes go.
func (r *runner) aside(rec *kgo.Record, input string, why error, most int) *kgo.Record {
	text := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	headers := slices.DeleteFunc(slices.Clone(rec.Headers), func(h kgo.RecordHeader) bool { return ours[h.Key] })
	headers = append(headers, text(topics.HeaderStage, r.stage.Name), text(topics.HeaderInput, input),
		text(topics.HeaderWhy, cutText(why, topics.WhyMax)), text(topics.HeaderWhen, r.env.Now().UTC().Format(time.RFC3339)))
	key, value := rec.Key, rec.Value
	if len(key)+len(value) > most {
		key = key[:min(len(key), most/2)]
		value = value[:min(len(value), most-len(key))]
		headers = append(headers, text(topics.HeaderBytes, strconv.Itoa(len(rec.Value))))
	}
	if size := headerBytes(headers); size > topics.RecordMax/16 { // a sender may put anything there
		headers = slices.DeleteFunc(headers, func(h kgo.RecordHeader) bool { return !ours[h.Key] })
	}
	return &kgo.Record{Topic: r.refused[rec.Topic], Key: key, Value: value, Headers: headers, Partition: rec.Partition}
}

// ours are headers that only we write into <topic>.refused: one of the input's is
// from an earlier refusal.
var ours = map[string]bool{topics.HeaderStage: true, topics.HeaderInput: true, topics.HeaderWhy: true, topics.HeaderWhen: true,
	topics.HeaderBytes: true, topics.HeaderMark: true, topics.HeaderRow: true, topics.HeaderStopped: true}

func headerBytes(hs []kgo.RecordHeader) (n int) {
	for _, h := range hs {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

// runOf is the Run of an input that was decoded.
func runOf(in *In) *schemas.Run {
	if of, ok := in.msg.(interface{ GetRun() *schemas.Run }); ok {
		return of.GetRun()
	}
	return nil
}

// cutHard is what is left of a value where even RecordMax is too much for a topic
// whose limit somebody lowered.
const cutHard = 1 << 10

// refuse writes what a refused input leaves behind, and then it is done.
func (m *member) refuse(in *In, why error, it *item) {
	settle := func(err error) {
		if it.settle(nil, err); err == nil {
			m.run.blames.clear(*in.spot())
		}
	}
	m.emit(in.room.ctx, m.refusal(in, why), func(err error) {
		if !isTooLarge(err) {
			settle(err)
			return
		}
		recs := m.refusal(in, why)
		recs[0] = m.run.aside(in.rec, in.String(), why, cutHard)
		m.emit(in.room.ctx, recs, settle)
	})
}

// foreign refuses a record of a region's topic that says it is meant for another: a
// vault belongs to one region, and so does all that leads to it.
func foreign(rec *kgo.Record, of topics.Spec, region string) error {
	to := Headers(rec.Headers).Get(topics.HeaderRegion)
	if to == nil || string(to) == region || of.Kind == topics.Public {
		return nil
	}
	return Refuse(fmt.Errorf("it is of region %q, and this is region %q", to, region))
}

// Foreign says that a record of a region's topic is meant for another, for who reads
// blocks: those hand out all that lies in the log.
func Foreign(h Headers, region string) error {
	if to := h.Get(topics.HeaderRegion); to != nil && string(to) != region {
		return errors.New("it is of region " + strconv.Quote(string(to)))
	}
	return nil
}
