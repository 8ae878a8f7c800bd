package deduper

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/index"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/topics"
)

// packs is a vault that has only tables.
type packs struct {
	mu     sync.Mutex
	tables map[vault.PackID][]vault.Entry
	order  []vault.PackID
	lost   map[vault.PackID]bool
	down   error
}

func (p *packs) add(id vault.PackID, entries ...vault.Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tables == nil {
		p.tables = map[vault.PackID][]vault.Entry{}
	}
	p.tables[id], p.order = entries, append(p.order, id)
}

func (p *packs) Packs(context.Context) iter.Seq2[vault.PackID, error] {
	return func(yield func(vault.PackID, error) bool) {
		p.mu.Lock()
		order := slices.Clone(p.order)
		p.mu.Unlock()
		for _, id := range order {
			if !yield(id, nil) {
				return
			}
		}
		if p.down != nil {
			yield(vault.PackID{}, p.down)
		}
	}
}

func (p *packs) Table(_ context.Context, id vault.PackID) ([]vault.Entry, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost[id] {
		return nil, errors.New("k shards are not to be had")
	}
	return p.tables[id], nil
}

func pack(n int) vault.PackID { return vault.PackID{Birth: 1, ID: [16]byte(uuid(n))} }

// Goal: an index rebuilt from the vault answers as the one that saw the rows.
func TestRebuildEqualsReplay(t *testing.T) {
	const parts = 3
	v := &packs{lost: map[vault.PackID]bool{pack(7): true}}
	dir := index.At(t.TempDir(), index.Options{})
	var replayed, rebuilt [parts]*index.Part
	open := func(n int32) *index.Part {
		p, err := dir.Part(n)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return p
	}
	for part := range int32(parts) {
		replayed[part], rebuilt[part] = open(part), open(10+part)
	}
	for n := range 50 {
		var entries []vault.Entry
		for c := range 20 {
			id := chunk(100*n + c)
			id[3] = byte(c) // spread over the partitions
			entries = append(entries, vault.Entry{ID: id, Offset: uint32(c), Framed: uint32(n)})
		}
		v.add(pack(n), entries...)
		for part := range int32(parts) {
			if err := fillIn(replayed[part], pack(n), entries, part, parts); err != nil {
				t.Fatal(err)
			}
		}
	}
	for part := range int32(parts) {
		packs, unreadable, err := refill(t.Context(), v, rebuilt[part], part, parts)
		if err != nil || packs != 50 || unreadable != 1 {
			t.Fatalf("%d packs, %d unreadable: %v", packs, unreadable, err)
		}
	}
	for id, entries := range v.tables {
		for _, e := range entries {
			part := topics.ChunkPart(e.ID[:], parts)
			want, there, err := replayed[part].Find(e.ID[:])
			if err != nil || !there {
				t.Fatal(err, there)
			}
			got, known, err := rebuilt[part].Find(e.ID[:])
			if err != nil || known == v.lost[id] || known && got != want {
				t.Fatalf("chunk %s: %v %v, want %v: %v", e.ID, got, known, want, err)
			}
			if _, foreign, _ := rebuilt[(part+1)%parts].Find(e.ID[:]); foreign {
				t.Fatalf("chunk %s is in a partition that it does not belong to", e.ID)
			}
		}
	}
}

// A vault that is down is waited for: an index without it would store all again.
func TestRebuildWaitsForTheVault(t *testing.T) {
	v := &packs{down: errors.New("target nas is down"), lost: map[vault.PackID]bool{}}
	dir := index.At(t.TempDir(), index.Options{})
	p, err := dir.Part(0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, _, err := refill(t.Context(), v, p, 0, 1); err == nil || !strings.Contains(err.Error(), "nas") {
		t.Errorf("a listing broke off: %v", err)
	}
	v.down = nil
	for n := range 5 {
		v.add(pack(n))
		v.lost[pack(n)] = true
	}
	if _, _, err := refill(t.Context(), v, p, 0, 1); err == nil || !strings.Contains(err.Error(), "5 of 5") {
		t.Errorf("no table could be read: %v", err)
	}
}
