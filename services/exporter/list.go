package exporter

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// found takes in a row of machines.found: what the others think is there.
func (r *room) found(key []byte, row *schemas.MachineFound) {
	if row == nil {
		delete(r.machines, string(key))
		return
	}
	r.machines[string(key)] = row
}

// list begins to list the sources of this room that are due.
func (r *room) list() {
	now := r.env.Now()
	for name, p := range r.deps.Sources {
		every := p.Every
		if every <= 0 {
			every = listEvery
		}
		last, known := r.listing[name]
		if topics.KeyPart([]byte(name), r.at.Of) != r.at.Number || known && now.Sub(last) < every {
			continue
		}
		r.listing[name] = now
		if r.machines[machineKey(name, "")] == nil {
			r.note(sourceRow(name, p)) // what is not found yet may be here: nobody shall say that it is nowhere
		}
		r.at.Go(func(ctx context.Context) func() {
			inv, err := p.Source.List(ctx)
			if ctx.Err() != nil {
				return nil
			}
			return func() { r.listed(name, p, inv, err) }
		})
	}
}

func machineKey(source, id string) string { return source + "\n" + id }

// listed tells what changed since the last list. A source that could not be
// listed keeps its machines: nothing was seen to be gone.
func (r *room) listed(name string, p Provider, inv *source.Inventory, err error) {
	own := sourceRow(name, p)
	if err != nil {
		r.env.Log.Error("list source", "source", name, "err", err)
		own.Findings = []string{text("the source could not be listed: " + err.Error())}
		before := r.machines[machineKey(name, "")]
		own.Source.ListedMs, own.Source.Machines = before.GetSource().GetListedMs(), before.GetSource().GetMachines()
		r.note(own)
		return
	}
	seen := map[string]bool{machineKey(name, ""): true}
	for i := range inv.Machines {
		row := machineRow(name, &inv.Machines[i])
		seen[machineKey(name, row.Machine.Id)] = true
		r.note(row)
	}
	for key, row := range r.machines {
		if strings.HasPrefix(key, name+"\n") && !seen[key] && !row.Gone {
			gone := proto.CloneOf(row)
			gone.Gone = true
			r.note(gone)
		}
	}
	own.Findings = texts(inv.Findings)
	own.Source.ListedMs, own.Source.Machines = r.env.Now().UnixMilli(), uint32(len(inv.Machines))
	r.note(own)
}

// sourceRow is a source that was not listed yet.
func sourceRow(name string, p Provider) *schemas.MachineFound {
	return &schemas.MachineFound{Machine: &schemas.Machine{Source: name, Name: name},
		Source: &schemas.SourceFound{SnapshotsMax: p.Limits.Snapshots, PerHost: p.Limits.PerHost, PerDatastore: p.Limits.PerDatastore,
			Connections: p.Limits.Connections, CheckOneIn: p.CheckOneIn, ShareBytes: p.ShareBytes, WindowBytes: p.WindowBytes,
			LatencyHoldUs: uint32(min(p.Limits.Hold.Microseconds(), 1<<31))}}
}

func machineRow(source string, m *source.Machine) *schemas.MachineFound {
	row := &schemas.MachineFound{Machine: &schemas.Machine{Source: source, Id: m.ID, Name: m.Name}, Folder: m.Folder, Tags: m.Tags,
		Host: m.Host, Cluster: m.Cluster, Datastores: m.Datastores, ChangeTracking: m.Tracking, Findings: texts(m.Findings)}
	for _, d := range m.Disks {
		row.Disks = append(row.Disks, &schemas.FoundDisk{Key: d.Key, SizeBytes: uint64(d.Size)})
	}
	return row
}

// note writes a row, if it says anything new. A lost one ends the room, which
// then lists again.
func (r *room) note(row *schemas.MachineFound) {
	key := machineKey(row.Machine.Source, row.Machine.Id)
	if old := r.machines[key]; old != nil {
		row.AtMs = old.AtMs
		if proto.Equal(old, row) {
			return
		}
	}
	row.AtMs = r.env.Now().UnixMilli()
	r.at.Emit(topics.MachinesFound.Event([]byte(key), row).To(r.at.Number))
}
