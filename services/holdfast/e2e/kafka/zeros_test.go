package kafka

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/topics"
)

// zeros wants nothing to be left of backups that have ended: no slot, no lag, nothing
// refused, no byte in staging but its pool, no snapshot at the source.
func (r *region) zeros() {
	r.Helper()
	r.until("all slots to be free", r.slots)
	r.until("staging to be empty", r.staging)
	r.until("all streams to be read to their ends", r.lag)
	if said := r.refused(); said != "" {
		r.Errorf("refused: %s", said)
	}
	left, err := os.ReadDir(filepath.Join(filepath.Dir(r.images), "snapshots"))
	r.must(err)
	if len(left) > 0 {
		r.Errorf("%d snapshots are left at the source, %s", len(left), left[0].Name())
	}
}

// slots names the machines whose row still holds a run, which is what holds slots.
func (r *region) slots() (held string) {
	newest := map[string][]byte{}
	for rec, err := range r.kafka.Read(r.Context(), topics.MachinesTended.Spec, 0) {
		if err != nil {
			return err.Error()
		}
		newest[string(rec.Key)] = rec.Value
	}
	if len(newest) == 0 {
		return "no machine has a row"
	}
	for _, value := range newest {
		row, err := topics.MachinesTended.Decode(value)
		if err != nil {
			return err.Error()
		}
		if row.GetOpen() != nil || len(row.GetPending()) > 0 {
			held += fmt.Sprintf("%s: %s, slots %d %d, %d pending; ", row.GetMachine().GetName(), row.GetOpen().GetState(),
				row.GetOpen().GetSourceSlot(), row.GetOpen().GetRegionSlot(), len(row.GetPending()))
		}
	}
	return held
}

// staging names what lies there beside the pool.
func (r *region) staging() (left string) {
	err := filepath.WalkDir(filepath.Join(r.dir, "staging"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(filepath.Join(r.dir, "staging"), path)
		if top, _, _ := strings.Cut(rel, string(filepath.Separator)); top == "leases" {
			left += rel + " "
		}
		return nil
	})
	if err != nil {
		return err.Error()
	}
	return left
}

// lag names the partitions that a group has not committed to their end. Tables are not
// committed: they are read in full by whoever is assigned them.
func (r *region) lag() (behind string) {
	adm := r.brokers.Admin()
	groups, err := adm.ListGroups(r.Context())
	if err != nil {
		return err.Error()
	}
	ends, err := adm.ListEndOffsets(r.Context(), client.Topics(r.name)...)
	if err != nil {
		return err.Error()
	}
	n := 0
	for _, g := range groups.Groups() {
		if !strings.HasPrefix(g, r.name+".") {
			continue
		}
		n++
		at, err := adm.FetchOffsets(r.Context(), g)
		if err != nil {
			return err.Error()
		}
		for _, o := range at.Sorted() {
			if end, ok := ends.Lookup(o.Topic, o.Partition); ok && o.At != end.Offset {
				behind += fmt.Sprintf("%s in %s/%d: %d of %d; ", g, o.Topic, o.Partition, o.At, end.Offset)
			}
		}
	}
	if n < 9 {
		return fmt.Sprintf("%d groups of %s", n, r.name)
	}
	return behind
}

// refused names the topics where something went that no retry can cure.
func (r *region) refused() (some string) {
	for _, s := range topics.All() {
		for rec, err := range r.kafka.Read(r.Context(), s.Refused(), 0) {
			if err != nil {
				return err.Error()
			}
			some += fmt.Sprintf("%s/%d@%d %v; ", s.Refused().In(r.name), rec.Part, rec.Offset, rec.Headers)
		}
	}
	return some
}

// compacted says of which partitions of a table rows are gone that were written.
func (r *region) compacted(s topics.Spec) (parts []int32) {
	r.Helper()
	adm := r.brokers.Admin()
	ends, err := adm.ListEndOffsets(r.Context(), s.In(r.name))
	r.must(err)
	count := map[int32]int64{}
	for rec, err := range r.kafka.Read(r.Context(), s, 0) {
		r.must(err)
		count[rec.Part]++
	}
	ends.Each(func(o kadm.ListedOffset) {
		if count[o.Partition] < o.Offset {
			parts = append(parts, o.Partition)
		}
	})
	return parts
}
