package ledger_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse/clickhousetest"
	"github.com/holdfast-backup/holdfast/schemas"
)

var (
	good, running, bad = schemas.UUID{1}, schemas.UUID{2}, schemas.UUID{3}
	now                = time.Now().UnixMilli()
	hour               = time.Hour.Milliseconds()
)

func origin(topic string, off int, at int64) ledger.Origin {
	return ledger.Origin{AtMs: at, Region: "r", Topic: topic, Offset: uint64(off)}
}

func machine(id string) ledger.Machine { return ledger.Machine{Source: "s", ID: id, Name: "vm " + id} }

// One machine is well, one has a backup under way and an old good one, one has
// failed, one was never asked for, and one is gone.
func fill(t *testing.T, l *ledger.Ledger) {
	turn := func(off int, m string, b schemas.UUID, at int64, s ledger.State, v uint64) ledger.Turn {
		return ledger.Turn{Origin: origin("backups.judged", off, at), Machine: machine(m), Attempt: ledger.Attempt{Backup: b, No: 1}, State: s, Version: v}
	}
	turns := ledger.Turns{
		turn(0, "a", good, now-2*hour, ledger.Queued, 1), turn(1, "a", good, now-hour, ledger.Completed, 9), turn(2, "a", good, now-2*hour, ledger.Running, 2),
		turn(3, "b", schemas.UUID{9}, now-30*hour, ledger.Completed, 9), turn(4, "b", running, now-hour/2, ledger.Running, 2),
		turn(5, "c", bad, now-hour, ledger.Failed, 9),
	}
	turns[0].QueuedMs, turns[1].SnapshotMs, turns[1].DoneMs, turns[1].Totals.Size = now-2*hour, now-hour-1, now-hour, 1<<30
	turns[3].SnapshotMs = now - 30*hour
	turns[4].Policy = "gold"
	turns[5].Reason = "no space"
	filed := func(off int) *ledger.Filed {
		return &ledger.Filed{Origin: origin("places.filed", off, now), Machine: machine("a"), Attempt: ledger.Attempt{Backup: good, No: 1, Lease: schemas.UUID{7}},
			FileNo: 1, File: "disk 1", GridBytes: 65536}
	}
	var places ledger.Places
	for i := range 4 {
		places = append(places, ledger.Place{Filed: filed(0), Place: uint64(i), Places: 1, LengthBytes: 65536, Chunk: [32]byte{byte(i)}, Outcome: ledger.Fresh, StoredBytes: 100})
	}
	places[3].Outcome = ledger.Known
	again := places[0]
	again.Filed = filed(9) // the auditor crashed
	places = append(places, again, ledger.Place{Filed: filed(10), Place: 64, Places: 640, Outcome: ledger.Zero})
	for i, rows := range []ledger.Rows{
		turns, places,
		ledger.Founds{{Origin: origin("", 0, now), Machine: machine("a")}, {Origin: origin("", 0, now), Machine: machine("b")},
			{Origin: origin("", 0, now), Machine: machine("d")}, {Origin: origin("", 0, now), Machine: machine("e"), Gone: true}},
		ledger.Progresses{{Origin: origin("backups.judged", 7, now-1000), Attempt: ledger.Attempt{Backup: running, No: 1}, ReadBytes: 5 << 20, FiledPages: 2}},
		ledger.Events{
			{Origin: origin("chunks.cut", 0, now), Stage: "chunker", Attempt: ledger.Attempt{Backup: running}, WaitUs: 4e6, BusyUs: 1e6, Bytes: 1 << 20},
			{Origin: origin("packs.sealed", 0, now), Stage: "sealer", Attempt: ledger.Attempt{Backup: running}, WaitUs: 6e6, BusyUs: 1e6, Error: "lost"},
		},
		troubles(),
	} {
		if err := l.Insert(t.Context(), fmt.Sprint("fill ", i), rows); err != nil {
			t.Fatal(err)
		}
	}
}

func TestQuestions(t *testing.T) {
	s := clickhousetest.Start(t, clickhousetest.Options(t))
	fill(t, open(t, s, clickhousetest.Writer, ledger.Keep{}))
	l := open(t, s, clickhousetest.Reader, ledger.Keep{})
	ctx := t.Context()

	is, ok, err := l.WhereIs(ctx, good)
	if err != nil || !ok || is.State != "completed" || is.Machine != machine("a") || is.SizeBytes != 1<<30 || is.QueuedAt.UnixMilli() != now-2*hour {
		t.Errorf("the good one: %+v, %v, %v", is, ok, err)
	}
	is, ok, err = l.WhereIs(ctx, running)
	if err != nil || !ok || is.State != "running" || is.FiledBytes != 5<<20 || is.HeardAt.UnixMilli() != now-1000 || len(is.Stages) != 2 {
		t.Errorf("the running one: %+v, %v, %v", is, ok, err)
	}
	if _, ok, err = l.WhereIs(ctx, schemas.UUID{99}); ok || err != nil {
		t.Errorf("an unknown one: %v, %v", ok, err)
	}

	lacks, err := l.NoGoodBackup(ctx, 24)
	var names []string
	for _, k := range lacks {
		names = append(names, k.Machine.Name+" "+k.LastState+" "+k.LastReason)
	}
	if want := []string{"vm c failed no space", "vm d  ", "vm b running "}; err != nil || !reflect.DeepEqual(names, want) {
		t.Errorf("without a good backup: %q, %v, want %q", names, err, want)
	}
	if lacks, err = l.NoGoodBackup(ctx, 48); err != nil || len(lacks) != 2 {
		t.Errorf("of two days: %v, %v", lacks, err)
	}

	loads, err := l.Bottleneck(ctx, 15)
	if err != nil || len(loads) != 2 || loads[0].Stage != "sealer" || loads[0].WaitShare != 0.6 || loads[0].Errors != 1 || loads[1].Bytes != 1<<20 || loads[1].BusyQuantilesMs[0] != 1000 || loads[0].WaitMs != 6000 || loads[1].BusySeconds == 0 || loads[1].MBPerSecond == 0 {
		t.Errorf("bottleneck: %+v, %v", loads, err)
	}

	users, err := l.ChunkUsers(ctx, [32]byte{2}, 10)
	if want := []ledger.User{{machine("a"), good, "disk 1"}}; err != nil || !reflect.DeepEqual(users, want) {
		t.Errorf("users of a chunk: %v, %v", users, err)
	}
	if users, err = l.ChunkUsers(ctx, [32]byte{0xff}, 10); err != nil || len(users) != 0 {
		t.Errorf("users of no chunk: %v, %v", users, err)
	}

	files, err := l.Outcomes(ctx, good)
	if want := []ledger.FileOutcome{{1, 1, "disk 1", 3, 1, 640, 0, 3 * 65536, 65536, 300}}; err != nil || !reflect.DeepEqual(files, want) {
		t.Errorf("outcomes: %+v, %v", files, err)
	}
	retries(t, l)
	if of, err := l.Ask(ctx, "where", running.String()); err != nil || len(of.Rows) != 1 || !strings.Contains(fmt.Sprint(of.Rows[0]), " gold ") {
		t.Errorf("by which policy: %v, %v", of, err)
	}
	a, err := l.Ask(ctx, "where", good.String())
	if err != nil || len(a.Rows) != 1 || len(a.Columns) != len(a.Rows[0]) || !strings.Contains(fmt.Sprint(a.Rows[0]), good.String()) {
		t.Errorf("asked by name: %v, %v", a, err)
	}
}

func TestBadQuestions(t *testing.T) {
	l, err := ledger.Open(ledger.Config{Addr: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, ask := range [][]string{
		{"wher"}, {"where"}, {"where", "x"}, {"where", good.String(), "y"}, {"no-good-backup", "0"}, {"no-good-backup", "-1"}, {"bottleneck", "1e9"},
		{"chunk-users", ""}, {"chunk-users", "0a"}, {"chunk-users", strings.Repeat("0a", 32), "0"}, {"outcomes", "') OR 1"},
	} {
		if _, err := l.Ask(t.Context(), ask[0], ask[1:]...); !errors.Is(err, ledger.ErrUsage) {
			t.Errorf("%q: %v", ask, err)
		}
	}
}

// One input is retried still, one got well, one was told of long ago, one was
// refused, twice, and one row of a table stops a room.
func troubles() (all ledger.Troubles) {
	minute := time.Minute.Milliseconds()
	for i, x := range []struct {
		topic   string
		ago     int64
		outcome ledger.Hitch
		tries   uint32
	}{
		{"chunks.fresh", 2 * minute, ledger.HitchRetried, 7}, {"chunks.fresh", minute, ledger.HitchRetried, 8},
		{"packs.sealed", 2 * minute, ledger.HitchRetried, 7}, {"packs.sealed", minute, ledger.HitchDone, 9},
		{"chunks.cut", 20 * minute, ledger.HitchRetried, 3},
		{"files.exported", minute, ledger.HitchRefused, 0}, {"files.exported", minute, ledger.HitchRefused, 0},
		{"machines.tended", minute, ledger.HitchStopped, 4},
	} {
		all = append(all, ledger.Trouble{Origin: origin("inputs.troubled", i, now-x.ago), Stage: "s", InputTopic: x.topic, InputPart: 3, InputOffset: 17, Outcome: x.outcome,
			Tries: x.tries, SinceMs: now - 10*minute + int64(i), Reason: "why " + x.topic, Attempt: ledger.Attempt{Backup: running, No: 1}})
	}
	return all
}

func retries(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	for _, x := range []struct {
		ask  []string
		want string
	}{
		{[]string{"retries"}, "[[chunks.fresh retried 8 why chunks.fresh] [machines.tended stopped 4 why machines.tended]]"},
		{[]string{"retries", "30"}, "[[chunks.fresh retried 8 why chunks.fresh] [chunks.cut retried 3 why chunks.cut] [machines.tended stopped 4 why machines.tended]]"},
		{[]string{"refusals"}, "[[files.exported/3/17 why files.exported]]"},
	} {
		a, err := l.Ask(t.Context(), x.ask[0], x.ask[1:]...)
		var got [][]any
		for _, r := range a.Rows {
			var row []any
			for i, c := range a.Columns {
				if slices.Contains([]string{"input_topic", "outcome", "tries", "reason", "input"}, c) {
					row = append(row, r[i])
				}
			}
			got = append(got, row)
		}
		if err != nil || fmt.Sprint(got) != x.want {
			t.Errorf("%s: %v, %v, want %s", x.ask, got, err, x.want)
		}
	}
}
