package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse/clickhousetest"
)

// Goal: every question's answer is what counting says. Method: a small fleet of a
// random seed is told to the ledger and to a book, turns twice under two tokens, as
// after the crash of an auditor. Fifty machines begin 28.8 minutes apart, so that
// nothing happens within two minutes of 60 minutes, 25 and 49 hours ago.
func TestAnswersAreWhatCountingSays(t *testing.T) {
	seed := rand.Uint64()
	t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
		s := clickhousetest.Start(t, clickhousetest.Options(t))
		l, err := ledger.Open(ledger.Config{Addr: s.Addr(), User: clickhousetest.Writer.Name, Password: clickhousetest.Writer.Password})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f := &fleet{Seed: seed, Machines: 50, Days: 3, History: 6, Rows: 60, Now: time.Now().UTC()}
		b := &book{}
		err = f.fill(t.Context(), func(ctx context.Context, token string, rows ledger.Rows) error {
			b.note(rows)
			if _, ok := rows.(ledger.Turns); ok {
				if err := l.Insert(ctx, token+" again", rows); err != nil {
					return err
				}
			}
			return l.Insert(ctx, token, rows)
		}, t.Logf)
		if err != nil {
			t.Fatal(err)
		}
		f.machinesAreTold(t, l, b)
		f.endsAreTold(t, l, b)
		f.usersAreTold(t, l, b)
	})
}

func (f *fleet) machinesAreTold(t *testing.T, l *ledger.Ledger, b *book) {
	const columns = "backup state waiting_for reason filed_bytes size_bytes last_good"
	for _, m := range []int{0, 1, 7, 11, f.Machines - 1} { // one runs, one failed again and again, one waits
		same(t, "machine by name", cells(t, l, columns, "machine", f.machine(m).Name), b.machine(f.machine(m).ID, 3))
		same(t, "machine by id", cells(t, l, columns, "machine", f.machine(m).ID, "5"), b.machine(f.machine(m).ID, 5))
	}
	same(t, "a machine that was never asked for", cells(t, l, "machine_name state", "machine", f.machine(f.Machines).Name), []string{row(f.machine(f.Machines).Name, "")})
	same(t, "a machine of none", cells(t, l, "machine_name", "machine", `it's \none`), nil)
	for backup, turn := range b.stands() {
		if f.hash(uint64(backup[0]), uint64(backup[1]))%20 == 0 {
			same(t, "where", cells(t, l, "machine_name state reason", "where", backup.String()), []string{row(turn.Machine.Name, stateNames[turn.State], turn.Reason)})
		}
	}
	same(t, "waiting", cells(t, l, "region source state waiting_for machines", "waiting"), b.waiting())
	for _, hours := range []int{25, 49} {
		same(t, "no good backup", cells(t, l, "machine_name last_state last_reason", "no-good-backup", strconv.Itoa(hours)), b.lacks(time.Duration(hours)*time.Hour))
	}
}

func (f *fleet) endsAreTold(t *testing.T, l *ledger.Ledger, b *book) {
	for _, hours := range []int{25, 49} {
		d, h := time.Duration(hours)*time.Hour, strconv.Itoa(hours)
		same(t, "failures", cells(t, l, "region source what why times", "failures", h), b.failures(d))
		var ended []string
		for _, one := range cells(t, l, "machine_name backup state read_bytes window_kept", "slowest", h, "1000") {
			if !strings.Contains(one, "|running|") {
				ended = append(ended, one)
			}
		}
		same(t, "slowest", ended, b.slowest(d, 1000))
		same(t, "throughput", cells(t, l, "region source filed_bytes running completed failed read_bytes", "throughput", strconv.Itoa(hours*60)), b.throughput(d))
		same(t, "refusals", cells(t, l, "region stage reason", "refusals", h), b.refusals(d))
	}
	if got := cells(t, l, "machine_name", "slowest", "25", "3"); len(got) != 3 {
		t.Errorf("the 3 slowest are %d", len(got))
	}
	same(t, "bottleneck", cells(t, l, "region stage records errors bytes wait_ms", "bottleneck", "60"), b.bottleneck(time.Hour))
	same(t, "gaps", cells(t, l, "topic records", "gaps"), []string{row("chunks.cut", 1234)})
	told := cells(t, l, "table rows", "tables")
	want := map[string]int{"chunk_log": len(b.places), "stage_event": len(b.events), "backup_state": 2 * len(b.turns), "progress": len(b.steps), "input_trouble": len(b.hitch)}
	for table, n := range want {
		if !slices.Contains(told, row(table, n)) {
			t.Errorf("tables: not %d rows of %s: %q", n, table, told)
		}
	}
}

func (f *fleet) usersAreTold(t *testing.T, l *ledger.Ledger, b *book) {
	const columns = "region machine_name backup file"
	for i := range 4 {
		for what, c := range map[string]chunk{"fresh": f.aFresh(i*9, i%f.Days), "common": {kind: common, n: uint64(i)}, "of none": {kind: 77, n: uint64(i) * packChunks}} {
			name, pack := f.name(c), f.pack(c)
			same(t, "users of a chunk, "+what, cells(t, l, columns, "chunk-users", hex.EncodeToString(name[:]), "1000"), b.users(func(p ledger.Place) bool { return p.Chunk == name }))
			same(t, "users of a pack, "+what, cells(t, l, columns, "pack-users", pack.String(), "1000"), b.users(func(p ledger.Place) bool { return p.Pack == pack && p.Outcome != ledger.Zero }))
		}
	}
	name := f.name(chunk{kind: common})
	if got := cells(t, l, columns, "chunk-users", hex.EncodeToString(name[:]), "7"); len(got) != 7 {
		t.Errorf("7 users of a chunk are %d", len(got))
	}
	for m := range 5 {
		backup := f.run(m*9, 1).attempt().Backup
		same(t, "outcomes", cells(t, l, "fresh_places known_places zero_places inherited_places", "outcomes", backup.String()), b.outcomes(backup))
	}
}
