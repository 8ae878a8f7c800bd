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

// BenchmarkWalk is what a full backup of six disks sends to the ledger of one
// machine: 95,000 places in 17 x 4 inserts, which each bring events, and 12 more
// streams of events in 4 x 4 inserts each. engine-s is its CPU time for one, merges
// included.
func BenchmarkWalk(b *testing.B) {
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
	before := engineCPU(b, s)
	for b.Loop() {
		for n := range 17 * 4 {
			insert("places", placesOf(offset, 1400))
			events("places.filed", 12)
			if n%4 == 0 {
				for _, topic := range []string{"backups.leased", "backups.judged"} {
					insert(topic, ledger.Turns{{Origin: origin(topic, offset, time.Now().UnixMilli()), Machine: machine("a"), Attempt: ledger.Attempt{Backup: schemas.UUID{byte(n)}}, State: ledger.Running}})
					events(topic, 3)
				}
			}
		}
		for topic := range 12 {
			for range 4 * 4 {
				events(fmt.Sprint("topic", topic), 100)
			}
		}
	}
	for quiet := 0; quiet < 10; quiet++ {
		a, err := l.Query(b.Context(), "SELECT count() FROM system.merges")
		if err != nil {
			b.Fatal(err)
		}
		if fmt.Sprint(a.Rows[0][0]) != "0" {
			quiet = 0
		}
		time.Sleep(100 * time.Millisecond) // until no merge begins: nothing tells us that it will
	}
	b.ReportMetric((engineCPU(b, s)-before)/float64(b.N), "engine-s")
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
