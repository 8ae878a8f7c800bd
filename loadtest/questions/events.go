package main

import (
	"github.com/holdfast-backup/holdfast/libs/ledger"
)

// works are the stages and what they write; of those to the right of it, more waits
// before the uploader than before any other.
var works = []struct {
	stage, topic string
	waitUs       uint64 // about
	busyUs       uint64
}{
	{"exporter", "extents.exported", 2_000, 90_000}, {"chunker", "chunks.cut", 9_000, 25_000}, {"chunker", "extents.cut", 9_000, 25_000},
	{"deduper", "chunks.fresh", 4_000, 3_000}, {"deduper", "chunks.known", 4_000, 3_000}, {"compressor-encryptor", "packs.sealed", 30_000, 120_000},
	{"uploader", "chunks.landed", 80_000, 60_000}, {"uploader", "chunks.stored", 80_000, 60_000}, {"auditor", "places.filed", 12_000, 2_000},
}

// eventShare is how many places there are for each record of a stage.
const eventShare = 5

// events of a backup's stages.
func (r run) events() (all ledger.Events) {
	count := max(len(works), r.places()/eventShare)
	m, d := r.key()
	for n := range count {
		at := r.at(n, count)
		if at.After(r.Now) {
			break
		}
		w := works[n%len(works)]
		dice := r.hash(ofTime, m, d, uint64(n), 9)
		e := ledger.Event{Origin: r.origin(w.topic, at, n), Stage: w.stage, Worker: "worker-" + string(rune('a'+dice%8)), Attempt: r.attempt(),
			WaitUs: w.waitUs/2 + dice>>8%w.waitUs, BusyUs: w.busyUs/2 + dice>>24%w.busyUs, Bytes: 45 * grid, Chunks: 45}
		if dice%1000 == 0 {
			e.Error = "lost"
		}
		all = append(all, e)
	}
	return all
}
