package recorder

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/schemas"
)

// places of one record: a row for each cut place and for each run.
func (r *room) places(at ledger.Origin, a ledger.Attempt, m *schemas.PlacesFiled) (ledger.Places, error) {
	c := m.GetCut()
	n := len(c.GetPlaces())
	if len(c.GetIds()) != n*idBytes || len(c.GetPack()) != n || len(c.GetFramed()) != n || len(m.GetKnown()) != n ||
		len(c.GetLengths()) != n && len(c.GetLengths()) != 0 {
		return nil, fmt.Errorf("%d places with %d bytes of ids, %d packs, %d framed lengths, %d lengths and %d outcomes",
			n, len(c.GetIds()), len(c.GetPack()), len(c.GetFramed()), len(c.GetLengths()), len(m.GetKnown()))
	}
	packs := make([]schemas.UUID, len(c.GetPacks()))
	for i, p := range c.GetPacks() {
		var ok bool
		if packs[i], ok = schemas.UUIDOf(p.GetId()); !ok {
			return nil, fmt.Errorf("pack id of %d bytes", len(p.GetId()))
		}
	}
	f := r.filed(at, a, m)
	all := make(ledger.Places, 0, n+len(m.GetRuns()))
	for i, place := range c.GetPlaces() {
		no := c.GetPack()[i]
		if int(no) >= len(packs) {
			return nil, fmt.Errorf("place %d lies in pack %d of %d", place, no, len(packs))
		}
		p := ledger.Place{Filed: f, Place: place, Places: 1, LengthBytes: uint64(m.GetGridBytes()), Outcome: ledger.Fresh,
			Pack: packs[no], PackBirth: c.GetPacks()[no].GetBirth(), StoredBytes: c.GetFramed()[i]}
		copy(p.Chunk[:], c.GetIds()[i*idBytes:])
		if m.GetKnown()[i] != 0 {
			p.Outcome = ledger.Known
		}
		if len(c.GetLengths()) > 0 && c.GetLengths()[i] > 0 {
			p.LengthBytes = uint64(c.GetLengths()[i])
		}
		all = append(all, p)
	}
	for _, run := range m.GetRuns() {
		p := ledger.Place{Filed: f, Place: run.GetFirst(), Places: run.GetCount(), LengthBytes: run.GetCount() * uint64(m.GetGridBytes()), Outcome: ledger.Zero}
		if run.GetInherited() {
			p.Outcome = ledger.Inherited
		}
		all = append(all, p)
	}
	return all, nil
}

func (r *room) filed(at ledger.Origin, a ledger.Attempt, m *schemas.PlacesFiled) *ledger.Filed {
	job, _ := schemas.UUIDOf(m.GetJob().GetId()) // none of a scheduled backup
	mapPack, _ := schemas.UUIDOf(m.GetMapPack().GetId())
	return &ledger.Filed{
		Origin: at, Vault: r.deps.Vault, Tenant: m.GetTenant(), Machine: machineOf(m.GetMachine()), Job: job, Attempt: a,
		FileNo: m.GetFile(), File: m.GetName(), GridBytes: m.GetGridBytes(), MapPack: mapPack, MapPackBirth: m.GetMapPack().GetBirth(),
		ReadUs: m.GetReadUs(), CutUs: m.GetCutUs(), LookupUs: m.GetLookupUs(), SealUs: m.GetSealUs(), PutUs: m.GetPutUs(),
	}
}

func machineOf(m *schemas.Machine) ledger.Machine {
	return ledger.Machine{Source: m.GetSource(), ID: m.GetId(), Name: m.GetName()}
}
