package mem_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/blob/blobtest"
	"github.com/holdfast-backup/holdfast/libs/blob/mem"
)

func TestStore(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Store { return mem.New() })
}

// A limit of 2 must neither break the contract nor deadlock.
func TestLimited(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Store { return blob.Limit(mem.New(), 2) })
}

// Calls that fail a third of the time, before or after their effect, and are
// slow: behind Retry the contract must hold, except that the one winner of a
// race may not learn that he won. In virtual time.
func TestRetried(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			f := blobtest.NewFaulty(mem.New(), seed).Lose(0.2).Ghost(0.15).Slow(time.Second)
			s := blob.Retry(f, blob.Policy{First: time.Second, Most: time.Minute})
			keys := []string{"a", "b/c", "b/d", "b/e", "c"}
			for _, k := range keys {
				if err := s.Put(t.Context(), k, []byte(k)); err != nil && !blob.Permanent(err) {
					t.Errorf("seed %d: put: %v", seed, err)
				}
			}
			var got []string
			for i, err := range s.List(t.Context(), "b/") {
				if err != nil {
					t.Fatalf("seed %d: list: %v", seed, err)
				}
				got = append(got, i.Key)
			}
			if len(got) != 3 || got[0] != "b/c" || got[1] != "b/d" || got[2] != "b/e" {
				t.Errorf("seed %d: listed %q", seed, got)
			}
			for _, k := range keys {
				if b, err := s.Get(t.Context(), k, 0, -1); err != nil || string(b) != k {
					t.Errorf("seed %d: get %s: %q, %v", seed, k, b, err)
				}
			}
		})
	}
}

// What is an answer is not asked again.
func TestRetryTakesAnswers(t *testing.T) {
	f := blobtest.NewFaulty(mem.New(), 0)
	s := blob.Retry(f, blob.Brief)
	s.Get(t.Context(), "a", 0, -1)
	s.Put(t.Context(), "a")
	s.Put(t.Context(), "a")
	f.Full(true)
	s.Put(t.Context(), "b")
	if f.Calls() != 4 {
		t.Errorf("4 calls with an answer each took %d", f.Calls())
	}
}
