package recorder

import (
	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/stage"
)

// gaps are rows of what had left the log before we came to it: who asks the ledger
// must learn that it does not know all. A block that comes again may find that more
// has left; then what is told twice is a part of it.
func (r *room) gaps(b *stage.Block) (all ledger.Gaps) {
	times := make(map[int64]int64, len(b.Records)) // by offset
	for _, rec := range b.Records {
		times[rec.Offset] = rec.Time.UnixMilli()
	}
	for _, g := range b.Gaps() {
		since, ok := times[g.First-1]
		if !ok {
			since = r.last[b.Topic]
		}
		all = append(all, ledger.Gap{SinceMs: since, Records: uint64(g.Last - g.First + 1), Origin: ledger.Origin{
			AtMs: times[g.Last+1], Region: r.env.Region, Topic: b.Spec.Name, Part: uint16(b.Part), Offset: uint64(g.First)}})
	}
	return all
}
