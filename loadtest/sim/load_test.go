//go:build synctests

package sim

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// sender is the source of all requests.
const sender = "/sim"

// request is one order for backups.
type request struct {
	job      schemas.UUID
	machines []string // source/id
	must     bool     // it was sent when all was well: each must be completed
}

// restore is one order to bring a point back.
type restore struct {
	id    schemas.UUID
	point string
	dir   string
}

// order sends a request for some machines.
func (w *world) order(must bool, machines ...string) *request {
	id := fmt.Sprint("job-", len(w.requests))
	r := &request{job: schemas.JobID(sender, id), machines: machines, must: must}
	w.requests = append(w.requests, r)
	w.tale("order %s: back up %v", r.job, machines)
	w.publish(topics.BackupsRequested, id, r.job.String(), schemas.BackupRequested{Machines: machines})
	return r
}

// cancel sends a cancel of a request.
func (w *world) cancel(r *request) {
	w.tale("cancel %s", r.job)
	w.publish(topics.BackupsRequested, "cancel-"+r.job.String(), r.job.String(), schemas.BackupCancel{Job: r.job})
}

// bring asks for a point to be restored.
func (w *world) bring(point string) {
	id := fmt.Sprint("restore-", len(w.restores))
	r := &restore{id: schemas.RestoreID(sender, id), point: point, dir: filepath.Join(w.dir, "restored", id)}
	w.restores = append(w.restores, r)
	w.tale("restore %s as %s", point, r.id)
	w.publish(topics.RestoresRequested, id, r.id.String(), schemas.RestoreRequested{Point: point, Destination: schemas.RestoreDestination{Dir: r.dir}})
}

func (w *world) publish(t topics.Raw, id, key string, data schemas.Public) {
	e, err := schemas.NewEvent(id, sender, time.Now().Add(w.senders).UTC(), "", data)
	w.must(err)
	e.Key = key
	headers, value, err := schemas.EncodeEvent(e)
	w.must(err)
	w.kafka.send(t.Event([]byte(key), value, headers))
}

// machine makes a machine at a site: disks of up to pages pages, of content that
// other machines have too, of its own, and of zeros; and a file of settings.
func (w *world) machine(s *site, disks, pages int) string {
	id := fmt.Sprint("vm-", len(s.machines))
	m := map[string]disk{"vm.xml": {kind: schemas.FileExported_KIND_CONFIG, size: 300, units: []uint64{w.rng.Uint64() | 1}}}
	for i := range disks {
		n := 1 + w.rng.IntN(pages*64)
		d := disk{kind: schemas.FileExported_KIND_DISK, size: int64(n)*unit - int64(w.rng.IntN(unit)), units: make([]uint64, n)}
		for j := range d.units {
			switch w.rng.IntN(4) {
			case 0: // zero
			case 1:
				d.units[j] = w.rng.Uint64() | 1
			default: // as in the image that all were made from
				d.units[j] = uint64(j)*2 + 2
			}
		}
		m[fmt.Sprint("disk", i)] = d
	}
	s.set(func() { s.machines[id] = m })
	return s.name + "/" + id
}

// scribble lets the guests of a site write: some units of each disk.
func (w *world) scribble(s *site) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range len(s.machines) {
		m := s.machines[fmt.Sprint("vm-", i)]
		for j := range len(m) - 1 {
			d := m[fmt.Sprint("disk", j)]
			for range 1 + w.rng.IntN(1+len(d.units)/8) {
				n := uint64(0)
				if w.rng.IntN(3) > 0 {
					n = uint64(w.rng.IntN(500)) + 1
				}
				d.units[w.rng.IntN(len(d.units))] = n
			}
		}
	}
}
