package deduper

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/holdfast-backup/holdfast/libs/index"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/topics"
)

// Tables is the vault, as far as a rebuild of the index reads it.
type Tables interface {
	// Packs yields the packs whose chunks are known: those of which a write quorum
	// of shards is listed and which no epoch condemns. A pack condemned while it
	// runs may be yielded, if its mark comes to the table after.
	Packs(ctx context.Context) iter.Seq2[vault.PackID, error]
	// Table is the table of chunks of a pack. It is called concurrently.
	Table(ctx context.Context, id vault.PackID) ([]vault.Entry, error)
}

const (
	// tableReads in flight hide the latency of a target: 30k packs of 20 KiB at
	// 50 ms each take 94 s.
	tableReads = 16
	// unreadableShare of packs may be lost to a rebuild, as 1 in so many: their
	// chunks are stored once more. More than that is a vault that is not up.
	unreadableShare = 100
)

// filler is an index.Part.
type filler interface {
	Fill(pack vault.PackID, ids []byte, offsets, framed []uint32) error
}

// refill reads the tables of all packs and fills in what belongs to one partition.
func refill(ctx context.Context, from Tables, p filler, part, parts int32) (packs, unreadable int, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ids := make(chan vault.PackID)
	var listed error
	go func() {
		defer close(ids)
		for id, err := range from.Packs(ctx) {
			if err != nil {
				listed = fmt.Errorf("list packs: %w", err)
				return
			}
			select {
			case ids <- id:
			case <-ctx.Done():
				return
			}
		}
	}()
	var mu sync.Mutex // of what follows, and of p
	var last, broken error
	var readers sync.WaitGroup
	for range tableReads {
		readers.Go(func() {
			for id := range ids {
				entries, err := from.Table(ctx, id)
				mu.Lock()
				packs++
				if err != nil {
					unreadable++
					last = fmt.Errorf("table of pack %s: %w", id, err)
				} else if err = fillIn(p, id, entries, part, parts); err != nil {
					broken = err
					stop()
				}
				mu.Unlock()
			}
		})
	}
	readers.Wait()
	switch {
	case broken != nil:
		return packs, unreadable, broken
	case listed != nil:
		return packs, unreadable, listed
	case ctx.Err() != nil:
		return packs, unreadable, ctx.Err()
	case unreadable > packs/unreadableShare+1:
		return packs, unreadable, fmt.Errorf("%d of %d packs, the last: %w", unreadable, packs, last)
	}
	return packs, unreadable, nil
}

func fillIn(p filler, id vault.PackID, entries []vault.Entry, part, parts int32) error {
	var ids []byte
	var offsets, framed []uint32
	for i := range entries {
		e := &entries[i]
		if topics.ChunkPart(e.ID[:], parts) == part {
			ids = append(ids, e.ID[:]...)
			offsets, framed = append(offsets, e.Offset), append(framed, e.Framed)
		}
	}
	if len(offsets) == 0 {
		return nil
	}
	return p.Fill(id, ids, offsets, framed)
}

func place(pack vault.PackID, offset, framed uint32) index.Place {
	return index.Place{Pack: pack, Offset: offset, Framed: framed}
}
