package exporter

import (
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// chase removes folders in staging of leases of this room that nobody knows: a
// frozen exporter may have made one after its lease was over. Seen once may be
// too early: the row may be on its way.
func (r *room) chase(now time.Time) error {
	shares := map[*staging.Share]bool{}
	for _, p := range r.deps.Sources {
		if shares[p.Share] {
			continue
		}
		shares[p.Share] = true
		all, err := p.Share.Leases()
		if err != nil {
			return err
		}
		for _, name := range all {
			since, seen := r.strange[name]
			switch {
			case !r.unknown(name):
				delete(r.strange, name)
			case !seen:
				r.strange[name] = now
			case now.Sub(since) >= r.hunt:
				r.env.Log.Warn("remove a folder of a lease that nobody knows", "lease", name)
				if err := p.Share.RemoveLease(name); err != nil {
					return err
				}
				delete(r.strange, name)
			}
		}
	}
	return nil
}

// unknown reports whether a folder is this room's, and no lease's of it.
func (r *room) unknown(name string) bool {
	b, l, _ := strings.Cut(name, ".")
	backup, err := schemas.ParseUUID(b)
	if err != nil || topics.KeyPart(backup[:], r.at.Of) != r.at.Number {
		return false
	}
	lease, err := schemas.ParseUUID(l)
	if err != nil {
		return false
	}
	return !r.knows(backup, lease)
}

// knows reports whether a lease is open here, or is being ended.
func (r *room) knows(backup, lease schemas.UUID) bool {
	open := r.open[string(backup[:])]
	return open != nil && (open.is(lease[:]) && open.phase() != schemas.ExportOpen_PHASE_ENDED || open.ends(lease[:]))
}
