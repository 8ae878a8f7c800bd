package auditor

import (
	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// inherentPlaces tells the ledger of pages that have no object, and each file's name.
func (r *room) inherentPlaces(a *attempt) (out []topics.Event) {
	for _, f := range a.named() {
		e := &schemas.PlacesFiled{Run: a.run(), Machine: a.leased.Machine, Job: a.leased.Job, Tenant: a.leased.Tenant, File: f.no,
			Name: f.facts.Name, GridBytes: f.facts.GridBytes, Cut: &schemas.Places{}, AtMs: r.now().UnixMilli()}
		runs, _ := f.runs() // checked: the attempt is complete
		for _, p := range runs {
			if p.what == schemas.PageRun_WHAT_EXPORTED {
				continue
			}
			first, end := uint64(p.first)*cut.PagePlaces, (uint64(p.first)+uint64(p.count))*cut.PagePlaces
			places := (f.facts.SizeBytes + uint64(f.facts.GridBytes) - 1) / uint64(max(1, f.facts.GridBytes))
			e.Runs = append(e.Runs, &schemas.PlaceRun{First: first, Count: min(end, places) - first, Inherited: p.what == schemas.PageRun_WHAT_INHERITED})
			if len(e.Runs) == rowPages { // about 10 bytes each
				out = append(out, topics.PlacesFiled.Event(a.run().Backup, e))
				e = &schemas.PlacesFiled{Run: e.Run, Machine: e.Machine, Job: e.Job, Tenant: e.Tenant, File: e.File, Name: e.Name,
					GridBytes: e.GridBytes, Cut: &schemas.Places{}, AtMs: e.AtMs}
			}
		}
		out = append(out, topics.PlacesFiled.Event(a.run().Backup, e))
	}
	return out
}
