package ledger_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/ledger/ledgertest"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse/clickhousetest"
	"github.com/holdfast-backup/holdfast/schemas"
)

// engineCPU is what the engine has spent, in seconds.
func engineCPU(b *testing.B, s *clickhouse.Server) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
	if err != nil {
		b.Skip("no /proc: ", err)
	}
	rest := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.ParseFloat(rest[11], 64)
	system, _ := strconv.ParseFloat(rest[12], 64)
	return (user + system) / 100
}

// BenchmarkWalk is what a full backup of six disks sends to the ledger of one machine
// in 34 s: from each of four rooms 24,000 places and a few turns, and 12 more streams
// of events, in as many inserts as the recorder's waits make of them. engine-s is the
// engine's CPU time for one such backup, merges included.
func BenchmarkWalk(b *testing.B) {
	for _, w := range []struct{ places, events int }{{2, 10}, {5, 20}, {5, 30}} {
		b.Run(fmt.Sprintf("places=%ds/events=%ds", w.places, w.events), func(b *testing.B) { walk(b, w.places, w.events) })
	}
}

const walkSeconds, walkRooms, walkPlaces = 34, 4, 95_000

func walk(b *testing.B, placesWait, eventsWait int) {
	s := clickhousetest.Start(b, clickhousetest.Options(b))
	l, err := ledger.Open(ledger.Config{Addr: s.Addr(), User: clickhousetest.Writer.Name, Password: clickhousetest.Writer.Password})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	if err := l.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	offset := 0
	insert := func(table string, rows ledger.Rows) {
		if err := l.Insert(b.Context(), fmt.Sprint(table, offset), rows); err != nil {
			b.Fatal(err)
		}
	}
	events := func(topic string, n int) {
		rows := ledgertest.Events(topic, offset, n)
		for i := range rows {
			rows[i].AtMs, rows[i].Attempt.Backup = time.Now().UnixMilli(), schemas.UUID{byte(i % 6)}
		}
		insert(topic, rows)
		offset += n
	}
	turns := func(topic string) {
		insert(topic, ledger.Turns{{Origin: origin(topic, offset, time.Now().UnixMilli()), Machine: machine("a"), Attempt: ledger.Attempt{Backup: schemas.UUID{9}}, State: ledger.Running}})
		events(topic, 3)
	}
	before := engineCPU(b, s)
	for b.Loop() {
		for range walkSeconds / placesWait * walkRooms {
			insert("places", placesOf(offset, walkPlaces*placesWait/walkSeconds/walkRooms))
			events("places.filed", 6*placesWait)
		}
		for range walkSeconds / 2 {
			turns("backups.leased")
			turns("backups.judged")
		}
		for topic := range 12 {
			for range max(1, walkSeconds/eventsWait) * walkRooms {
				events(fmt.Sprint("topic", topic), 10*eventsWait)
			}
		}
	}
	settle(b, l)
	b.ReportMetric((engineCPU(b, s)-before)/float64(b.N), "engine-s")
}

// BenchmarkInsertAfterUpdate is what the tables of this version cost beside those of
// the former, merges included, of a million places in blocks of 20,000.
func BenchmarkInsertAfterUpdate(b *testing.B) {
	for _, c := range []struct {
		name string
		open func(*ledger.Ledger) error
	}{
		{"former", func(l *ledger.Ledger) error { return l.Former(b.Context(), former) }},
		{"now", func(l *ledger.Ledger) error { return l.Migrate(b.Context()) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := clickhousetest.Start(b, clickhousetest.Options(b))
			l, err := ledger.Open(ledger.Config{Addr: s.Addr(), User: clickhousetest.Writer.Name, Password: clickhousetest.Writer.Password})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			if err := c.open(l); err != nil {
				b.Fatal(err)
			}
			var spent time.Duration
			before, offset := engineCPU(b, s), 0
			for b.Loop() {
				for range 50 {
					rows := placesOf(offset, ledger.MaxRows)
					began := time.Now()
					if err := l.Insert(b.Context(), fmt.Sprint(offset), rows); err != nil {
						b.Fatal(err)
					}
					spent += time.Since(began)
					offset += len(rows)
				}
			}
			settle(b, l)
			b.ReportMetric(float64(offset)/spent.Seconds(), "rows/s")
			b.ReportMetric((engineCPU(b, s)-before)/float64(offset)*1e6, "engine-s/Mrow")
		})
	}
}

// settle waits until no merge begins: nothing tells us that none will.
func settle(b *testing.B, l *ledger.Ledger) {
	b.Helper()
	for quiet := 0; quiet < 10; quiet++ {
		a, err := l.Query(b.Context(), "SELECT count() FROM system.merges")
		if err != nil {
			b.Fatal(err)
		}
		if fmt.Sprint(a.Rows[0][0]) != "0" {
			quiet = 0
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// placesOf is one block of six machines' places.
func placesOf(offset, n int) (rows ledger.Places) {
	var f *ledger.Filed
	for i := range n {
		if i%128 == 0 {
			m := byte(offset + i/128)
			f = &ledger.Filed{Origin: origin("places.filed", offset+i, time.Now().UnixMilli()), Vault: "v", Machine: machine(fmt.Sprint("m", m%6)), File: "disk.raw", GridBytes: 65536, Attempt: ledger.Attempt{Backup: schemas.UUID{m % 6}}}
		}
		p := ledger.Place{Filed: f, Place: uint64(offset + i), Places: 1, LengthBytes: 65536, Outcome: ledger.Fresh, Pack: schemas.UUID{byte(i / 320), byte(offset)}, StoredBytes: uint32(20000 + i*7)}
		for k := range 4 {
			binary.BigEndian.PutUint64(p.Chunk[8*k:], (uint64(offset+i)*4+uint64(k)+1)*0x9e3779b97f4a7c15)
		}
		rows = append(rows, p)
	}
	return rows
}
