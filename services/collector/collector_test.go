package collector

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob/blobtest"
	"github.com/holdfast-backup/holdfast/libs/blob/mem"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

func newVault(t *testing.T) (*vault.Vault, []*blobtest.Faulty) {
	t.Helper()
	var targets []vault.Target
	var stores []*blobtest.Faulty
	for i := range 3 {
		s := blobtest.NewFaulty(mem.New(), uint64(i))
		stores = append(stores, s)
		targets = append(targets, vault.Target{Name: fmt.Sprint("t", i), Store: s})
	}
	s := vault.Settings{Name: "v", Region: stagetest.Region, GridBytes: 64 << 10, Compression: "zstd-fastest", K: 2, M: 1}
	if err := vault.Init(context.Background(), targets, s, nil); err != nil {
		t.Fatal(err)
	}
	v, err := vault.Open(context.Background(), targets)
	if err != nil {
		t.Fatal(err)
	}
	return v, stores
}

// opened counts the records of the log that open an epoch, and the controls
// that lay in each partition of the dedupers' table before the first of them.
func opened(b *stagetest.Bench) (opened, controls int) {
	first := time.Time{}
	for _, rec := range b.Records(topics.EpochsTurned.In(stagetest.Region)) {
		if string(rec.Key) == "opened/1" {
			opened++
			if first.IsZero() {
				first = rec.Timestamp
			}
		}
	}
	parts := map[int32]bool{}
	for _, rec := range b.Records(topics.ChunksStored.In(stagetest.Region)) {
		row, err := topics.ChunksStored.Decode(rec.Value)
		if err == nil && row.GetControl() == 1 && !rec.Timestamp.After(first) {
			parts[rec.Partition] = true
		}
	}
	return opened, len(parts)
}

// Every deduper has the control before the epoch is open, whenever we crash.
func TestEpochIsToldBeforeItIsOpen(t *testing.T) {
	for seed := range uint64(8) {
		stagetestRun(t, seed, func(b *stagetest.Bench, _ []*blobtest.Faulty) {
			b.Weather(0.2)
			for range 4 {
				m := b.Join(0.4)
				time.Sleep(time.Duration(b.Rand.IntN(4000)) * time.Millisecond)
				if n, controls := opened(b); n > 0 && controls != 3 {
					b.T.Fatalf("the epoch is open and %d of 3 dedupers know", controls)
				}
				m.Crash()
			}
			b.Join(0)
			// Tables are never committed, so this waits its ten minutes, and each minute evicts dead members as a real broker would.
			b.Send(topics.EpochsTurned.Event([]byte("opening/1"), &schemas.EpochTurned{Epoch: 1, Turn: schemas.EpochTurned_TURN_OPENING}).To(0))
			for range 6 {
				b.Settled(topics.EpochsTurned.Spec)
			}
			if n, controls := opened(b); n == 0 || controls != 3 {
				b.T.Fatalf("opened %d times, told to %d of 3", n, controls)
			}
		})
	}
}

func TestOpenedIsSaidOnceAndControlsHourly(t *testing.T) {
	stagetestRun(t, 0, func(b *stagetest.Bench, _ []*blobtest.Faulty) {
		m := b.Join(0)
		time.Sleep(150 * time.Minute)
		m.Leave()
		b.Join(0)
		time.Sleep(time.Minute)
		n, _ := opened(b)
		rows := stagetest.Read(b, topics.ChunksStored)
		if n != 1 || len(rows) != 3*4 {
			b.T.Errorf("opened %d times, %d controls: want 1, and 4 for each of 3", n, len(rows))
		}
	})
}

func TestVaultThatDoesNotAnswer(t *testing.T) {
	stagetestRun(t, 0, func(b *stagetest.Bench, stores []*blobtest.Faulty) {
		for _, s := range stores {
			s.Down(true)
		}
		b.Join(0)
		time.Sleep(time.Minute)
		if n, _ := opened(b); n != 0 || b.Count(stage.Failed) > 0 {
			b.T.Fatalf("opened %d times, %d failures", n, b.Count(stage.Failed))
		}
		for _, s := range stores {
			s.Down(false)
		}
		time.Sleep(time.Minute)
		if n, controls := opened(b); n != 1 || controls != 3 {
			b.T.Errorf("opened %d times, told to %d of 3", n, controls)
		}
	})
}

func stagetestRun(t *testing.T, seed uint64, f func(*stagetest.Bench, []*blobtest.Faulty)) {
	t.Run(fmt.Sprint("seed-", seed), func(t *testing.T) {
		v, stores := newVault(t)
		stagetest.Run(t, seed, Stage(Default(), Deps{Vault: v}), 3, func(b *stagetest.Bench) { f(b, stores) })
	})
}
