package ledger_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse/clickhousetest"
	"github.com/holdfast-backup/holdfast/schemas"
)

// What an insert costs, ledger and client on the same cores. rss is the engine's
// at the end.
func BenchmarkInsertPlaces(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000, 50_000} {
		b.Run(fmt.Sprint("rows=", n), func(b *testing.B) {
			s := clickhousetest.Start(b, clickhousetest.Options(b))
			l, err := ledger.Open(ledger.Config{Addr: s.Addr(), User: clickhousetest.Writer.Name, Password: clickhousetest.Writer.Password})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			if err := l.Migrate(b.Context()); err != nil {
				b.Fatal(err)
			}
			rows := make(ledger.Places, n)
			f := &ledger.Filed{Origin: origin("places.filed", 0, now), Vault: "v", Machine: machine("a"), File: "disk.raw", GridBytes: 65536, Attempt: ledger.Attempt{Backup: good}}
			for i := range rows {
				rows[i] = ledger.Place{Filed: f, Place: uint64(i), Places: 1, LengthBytes: 65536, Outcome: ledger.Fresh, Pack: schemas.UUID{byte(i / 300)}, StoredBytes: uint32(i * 7)}
				binary.BigEndian.PutUint64(rows[i].Chunk[:], uint64(i)*0x9e3779b97f4a7c15)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if err := l.Insert(b.Context(), fmt.Sprint("bench ", i), rows); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID())); err == nil {
				for line := range strings.Lines(string(text)) {
					var kb float64
					if _, err := fmt.Sscanf(line, "VmRSS: %f", &kb); err == nil {
						b.ReportMetric(kb/1024, "rss-MB")
					}
				}
			}
		})
	}
}
