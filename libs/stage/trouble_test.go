package stage_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/watch"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

var aRun = &schemas.Run{Backup: []byte("0123456789abcdef"), Attempt: 2, Lease: []byte("fedcba9876543210")}

func extent(no uint64) topics.Event {
	return topics.ExtentsExported.Event([]byte("k"), &schemas.ExtentExported{Run: aRun, Extent: no})
}

// victim does to an extent what the test says.
type victim struct{ room *stage.Room }

func victims(do func(v *victim, in *stage.In, e *schemas.ExtentExported) error, more ...stage.Port[*victim]) stage.Stage {
	return stage.Define("victim", func(stage.Env) (func(*stage.Room) (*victim, error), error) {
		return func(m *stage.Room) (*victim, error) { return &victim{m}, nil }, nil
	}, append(more, stage.On(topics.ExtentsExported, do), stage.Emits[*victim](topics.ExtentsCut.Spec))...)
}

// answer is the effect of a good record.
func answer(e *schemas.ExtentExported) topics.Event {
	return topics.ExtentsCut.Event(e.Run.GetBackup(), &schemas.ExtentCut{Run: e.Run, Extent: e.Extent})
}

// Goal: a record over which a handler panics takes neither the process nor what
// stands behind it. Method: three ways to panic, each every time; a good record
// behind each; the record is refused, with the panic as the reason, and its Run told.
func TestPanicEndsTheRecordNotTheProcess(t *testing.T) {
	s := victims(func(v *victim, in *stage.In, e *schemas.ExtentExported) error {
		switch e.Extent {
		case 1:
			panic("in the handler")
		case 2:
			in.Hold()
			in.Go(func(context.Context) func() { panic("beside it") })
			return nil
		case 3:
			in.Hold()
			in.Go(func(context.Context) func() { return func() { panic("after it") } })
			return nil
		}
		in.Emit(answer(e))
		return nil
	})
	stagetest.Run(t, 0, s, 1, func(b *stagetest.Bench) {
		b.Bugs = true
		b.Join(0)
		b.Send(extent(1), extent(11), extent(2), extent(12), extent(3), extent(13))
		if !b.Settled() {
			b.Dump(30)
			b.T.Fatal("not settled")
		}
		cut := map[uint64]bool{}
		for _, c := range stagetest.Read(b, topics.ExtentsCut) {
			cut[c.Extent] = true
		}
		if !cut[11] || !cut[12] || !cut[13] || len(cut) != 3 {
			b.T.Errorf("cut: %v", cut)
		}
		got := stagetest.ReadRaw(b, topics.ExtentsExported.Refused())
		faults := stagetest.Read(b, topics.BackupsFaulted)
		if len(got) != 3 || len(faults) != 3 {
			b.T.Fatalf("%d refused, %d faults", len(got), len(faults))
		}
		for i, why := range []string{"in the handler", "beside it", "after it"} {
			if !strings.Contains(got[i].Headers["why"], "3 times, last with panic: "+why) || !strings.Contains(faults[i].Reason, why) {
				b.T.Errorf("refused %v, told %v", got[i].Headers["why"], faults[i].Reason)
			}
		}
		if n := b.Count(stage.Panicked); n != 9 {
			b.T.Errorf("%d panics, want 3 of each", n)
		}
	})
}

// A record of ours that is too large would be too large again. By whatever way it is
// emitted, its input is done, its Run is told for good, and what follows goes on.
func TestTooLargeIsNotRetriedForEver(t *testing.T) {
	huge := func(e *schemas.ExtentExported) topics.Event {
		return topics.ExtentsCut.Event(e.Run.GetBackup(), &schemas.ExtentCut{Run: e.Run, Extent: e.Extent, SnapshotId: strings.Repeat("x", topics.RecordMax)})
	}
	var mu sync.Mutex
	var put []error
	s := victims(func(v *victim, in *stage.In, e *schemas.ExtentExported) error {
		switch e.Extent {
		case 1:
			in.Emit(huge(e))
		case 2:
			in.Hold().Release(huge(e))
		case 3:
			v.room.Emit(huge(e))
		case 4:
			mu.Lock()
			defer mu.Unlock()
			if put = append(put, v.room.Put(huge(e))); len(put) < 3 {
				return put[0]
			}
		default:
			in.Emit(answer(e))
		}
		return nil
	})
	stagetest.Run(t, 0, s, 1, func(b *stagetest.Bench) {
		b.Join(0)
		b.Send(extent(1), extent(2), extent(3), extent(4), extent(10))
		if !b.Settled() {
			b.Dump(30)
			b.T.Fatal("not settled")
		}
		faults := stagetest.Read(b, topics.BackupsFaulted)
		if len(faults) < 4 || len(stagetest.Read(b, topics.ExtentsCut)) == 0 {
			b.T.Fatalf("%d faults, %d cut", len(faults), len(stagetest.Read(b, topics.ExtentsCut)))
		}
		for _, f := range faults {
			if !f.Permanent || !strings.Contains(f.Reason, "too large") || !strings.Contains(f.Reason, "921600") {
				b.T.Errorf("told: %v", f)
			}
		}
		if put[0] == nil {
			b.T.Error("who puts was not told that it is not there")
		}
		refused := map[string]bool{} // twice, perhaps: a put that fails ends the room
		for _, r := range stagetest.ReadRaw(b, topics.ExtentsExported.Refused()) {
			refused[r.Headers["input"]] = true
		}
		if len(refused) != 1 || !refused["test-1.extents.exported/0@0"] {
			b.T.Errorf("%v are refused, want the one whose handler emitted", refused)
		}
	})
}

// The broker's own limit may be lower than ours, and an input larger than what may be
// kept of it: the refusal is cut, and says of how much.
func TestBrokersLimitIsNotRetriedForEver(t *testing.T) {
	s := victims(func(v *victim, in *stage.In, e *schemas.ExtentExported) error {
		if e.Extent == 1 {
			return stage.Refuse(errWeather)
		}
		in.Emit(answer(e))
		return nil
	})
	stagetest.Run(t, 0, s, 1, func(b *stagetest.Bench) {
		b.Join(0)
		large := extent(1)
		large.Value = append(large.Value, topics.ExtentsExported.Event(nil, &schemas.ExtentExported{SnapshotId: strings.Repeat("x", topics.RecordMax)}).Value...)
		b.Send(large)
		b.Settled()
		got := stagetest.ReadRaw(b, topics.ExtentsExported.Refused())
		if len(got) != 1 || len(got[0].Value)+len(got[0].Key) != topics.RecordMax || got[0].Headers["bytes"] == "" {
			b.T.Fatalf("%d refused, of %v", len(got), got[0].Headers)
		}
		limit := func(t topics.Spec, times int) {
			id := b.Cluster.TopicInfo(t.In(stagetest.Region)).TopicID
			b.Cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge, Count: times, When: func(r kmsg.Request) bool {
				return r.(*kmsg.ProduceRequest).Topics[0].TopicID == id
			}})
		}
		limit(topics.ExtentsCut.Spec, 3)
		limit(topics.ExtentsExported.Refused(), 1)
		b.Send(extent(7))
		if !b.Settled() {
			b.Dump(20)
			b.T.Fatal("not settled")
		}
		got = stagetest.ReadRaw(b, topics.ExtentsExported.Refused())
		if len(got) != 2 || !strings.Contains(got[1].Headers["why"], "MESSAGE_TOO_LARGE") {
			b.T.Errorf("%d refused, the last with %q", len(got), got[len(got)-1].Headers)
		}
		if n := b.Count(stage.Failed); n != 3 {
			b.T.Errorf("the room ended %d times", n)
		}
	})
}

// A record that is meant for another region is not even decoded; one that says
// nothing, as from an older house, is ours. A table's row of another region stops.
func TestAnotherRegionsRecordIsRefused(t *testing.T) {
	s := victims(func(v *victim, in *stage.In, e *schemas.ExtentExported) error {
		in.Emit(answer(e))
		return nil
	})
	stagetest.Run(t, 0, s, 1, func(b *stagetest.Bench) {
		b.Join(0)
		of := func(e topics.Event, region string) topics.Event {
			e.Headers = map[string]string{topics.HeaderRegion: region}
			return e
		}
		b.Send(of(extent(1), "mars"), of(extent(2), stagetest.Region), extent(3))
		b.Settled()
		got := stagetest.ReadRaw(b, topics.ExtentsExported.Refused())
		if len(got) != 1 || got[0].Headers["why"] != `it is of region "mars", and this is region "test-1"` || len(stagetest.Read(b, topics.ExtentsCut)) != 2 {
			b.T.Fatalf("refused %v", got)
		}
		if n := len(stagetest.Read(b, topics.BackupsFaulted)); n != 0 {
			b.T.Errorf("%d faults of another region's Run", n)
		}
		for _, rec := range b.Records(topics.ExtentsCut.In(stagetest.Region)) {
			if string(stage.Headers(rec.Headers).Get(topics.HeaderRegion)) != stagetest.Region {
				b.T.Errorf("a record of ours says no region: %v", rec.Headers)
			}
		}
	})
}

// Goal: what is retried is in the log, in a metric and on its way to the ledger, with
// the reason and since when, and floods none of them. Method: three minutes of
// weather of two kinds, then none.
func TestRetriesAreTold(t *testing.T) {
	var mu sync.Mutex
	bad := true
	s := victims(func(v *victim, in *stage.In, e *schemas.ExtentExported) error {
		mu.Lock()
		defer mu.Unlock()
		if bad {
			return errors.New("no route to staging")
		}
		in.Emit(answer(e))
		return nil
	}, stage.Every(100*time.Millisecond, func(*victim, *stage.In) error {
		mu.Lock()
		defer mu.Unlock()
		if bad {
			return errors.New("no luck")
		}
		return nil
	}))
	stagetest.Run(t, 0, s, 1, func(b *stagetest.Bench) {
		var log bytes.Buffer
		b.Log = slog.New(slog.NewTextHandler(&log, nil))
		m := watch.NewMetrics()
		b.Watch = stage.Telemetry(m, &watch.Health{}, nil)
		b.Join(0)
		b.Send(extent(1))
		time.Sleep(3*time.Minute + 30*time.Second)
		age := gauge(b.T, m, "holdfast_stage_retrying_seconds", topics.ExtentsExported.In(stagetest.Region))
		mu.Lock()
		bad = false
		mu.Unlock()
		b.Settled()
		if n := strings.Count(log.String(), "no route to staging"); n < 2 || n > 5 {
			b.T.Errorf("%d lines of 3.5 minutes:\n%s", n, log.String())
		}
		if n := strings.Count(log.String(), "no luck"); n != 4 {
			b.T.Errorf("%d lines of a beat", n)
		}
		if age < 200 || age > 220 {
			b.T.Errorf("retrying for %v s", age)
		}
		if n := gauge(b.T, m, "holdfast_stage_retrying_seconds", topics.ExtentsExported.In(stagetest.Region)); n != 0 {
			b.T.Errorf("still retrying, for %v s", n)
		}
		var told []*schemas.InputTroubled
		for _, v := range stagetest.Read(b, topics.InputsTroubled) {
			if v.Topic == topics.ExtentsExported.Name {
				told = append(told, v)
			}
		}
		last := told[len(told)-1]
		if len(told) < 3 || len(told) > 6 || last.Outcome != schemas.InputTroubled_OUTCOME_DONE || told[0].Outcome != schemas.InputTroubled_OUTCOME_RETRIED ||
			told[0].Reason != "no route to staging" || told[0].Tries < 4 || told[0].SinceMs != last.SinceMs || string(last.Run.GetBackup()) != string(aRun.Backup) {
			b.T.Errorf("told %v", told)
		}
	})
}

// gauge is one by its name and topic.
func gauge(t *testing.T, m *watch.Metrics, name, topic string) float64 {
	t.Helper()
	all, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, one := range f.Metric {
			for _, l := range one.Label {
				if f.GetName() == name && l.GetName() == "topic" && l.GetValue() == topic {
					return one.GetGauge().GetValue()
				}
			}
		}
	}
	return -1
}
