package main

import (
	"encoding/binary"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/schemas"
)

// chunk is one that is somewhere in the fleet, and the pack that it is in.
type chunk struct {
	kind    uint64 // own, shared or common
	m, d, n uint64
}

const (
	own    = iota + 1 // first seen in backup (m, d), as its place n
	shared            // of the golden image
	common            // hot
)

func (f *fleet) name(c chunk) (id [32]byte) {
	for i := range 4 {
		binary.BigEndian.PutUint64(id[i*8:], f.hash(ofChunk, c.kind, c.m, c.d, c.n, uint64(i)))
	}
	return id
}

func (f *fleet) pack(c chunk) schemas.UUID {
	return f.id(ofPack, c.kind, c.m, c.d, c.n/packChunks)
}

// cut is what a run's place n holds. Neighbours share their fate in sixteens, and
// what is known lies in packs in the order it was cut in: machines write files.
func (r run) cut(n int) (c chunk, outcome ledger.Outcome) {
	m, d := r.key()
	if n < hot {
		return chunk{kind: common, n: uint64(n)}, ledger.Known
	}
	dice := r.hash(ofPlace, m, d, uint64(n/16))
	within := uint64(n % 16)
	switch which := dice % 100; {
	case which < 45:
		return chunk{own, m, d, uint64(n)}, ledger.Fresh
	case which < 75: // what the machine had before
		return chunk{own, m, d + 1 + dice>>8%uint64(r.Days), uint64(n)}, ledger.Known
	case which < 90:
		return chunk{kind: shared, n: (dice>>8%(golden/16))*16 + within}, ledger.Known
	case which < 95: // what its neighbour has
		return chunk{own, m ^ 1, d + 1, uint64(n)}, ledger.Known
	}
	return chunk{}, ledger.Zero
}

// rows of what was filed so far.
func (r run) rows() (all ledger.Places) {
	count := r.places()
	var filed *ledger.Filed
	for n := range count {
		at := r.at(n-n%recordRows, count)
		if at.After(r.Now) {
			break
		}
		if n%recordRows == 0 {
			filed = r.filed(r.origin("places.filed", at, n/recordRows), n)
		}
		c, outcome := r.cut(n)
		p := ledger.Place{Filed: filed, Place: uint64(n * 3), Places: 1, LengthBytes: grid, Outcome: outcome}
		if outcome == ledger.Zero {
			p.Places, p.LengthBytes = 3, 3*grid
		} else {
			p.Chunk, p.Pack, p.PackBirth = r.name(c), r.pack(c), c.d
			p.StoredBytes = uint32(20_000 + r.hash(ofPlace, c.kind, c.m, c.d, c.n)%30_000)
		}
		all = append(all, p)
	}
	return all
}

func (r run) filed(at ledger.Origin, n int) *ledger.Filed {
	m, d := r.key()
	us := func(i uint64) uint32 { return uint32(500 + r.hash(ofTime, m, d, uint64(n), i)%20_000) }
	return &ledger.Filed{Origin: at, Vault: "vault", Tenant: "tenant-" + string(rune('a'+r.m%5)), Machine: r.machine(r.m), Attempt: r.attempt(),
		FileNo: 1, File: "disk-0.vmdk", GridBytes: grid, MapPackBirth: d, MapPack: r.id(ofPack, m, d, uint64(n/4096)),
		ReadUs: us(1), CutUs: us(2), LookupUs: us(3), SealUs: us(4), PutUs: us(5)}
}
