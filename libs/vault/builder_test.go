package vault

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
)

// A builder that erred must never seal again: its counter and what was sealed may
// differ by then.
func TestBuilderIsDeadAfterAnError(t *testing.T) {
	b, err := NewBuilder(worker(t), BuilderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Add(cut.ID{1}, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Append(cut.ID{2}, make([]byte, 3), seal.Raw, 2); err == nil {
		t.Fatal("a body longer than its chunk is taken")
	}
	if _, err := b.Add(cut.ID{1}, []byte("one")); !errors.Is(err, ErrClosed) {
		t.Errorf("add after an error: %v", err)
	}
	if _, _, _, err := b.Close(1); !errors.Is(err, ErrClosed) {
		t.Errorf("close after an error: %v", err)
	}
}

// A closed builder is dead too, and an empty one makes no pack.
func TestBuilderClosesOnce(t *testing.T) {
	b, err := NewBuilder(worker(t), BuilderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := b.Close(1); err == nil {
		t.Error("a pack of no chunk is closed")
	}
	if _, err := b.Add(cut.ID{1}, []byte("one")); !errors.Is(err, ErrClosed) {
		t.Errorf("add after close: %v", err)
	}
}

// A pack never passes PackMax, whatever is put into it, and one chunk of the
// largest size fits an empty one.
func TestBuilderIsBounded(t *testing.T) {
	b, err := NewBuilder(worker(t), BuilderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	body := noise(1, 1<<20)
	for b.Fits(len(body)) {
		if _, err := b.Append(cut.ID{1}, body, seal.Raw, len(body)); err != nil {
			t.Fatal(err)
		}
	}
	if b.Len() > PackBytes || b.Len() < PackBytes-2<<20 {
		t.Errorf("a full pack has %d bytes", b.Len())
	}
	if _, err := b.Append(cut.ID{1}, body, seal.Raw, len(body)); err == nil {
		t.Error("it takes what does not fit")
	}
	id, data, _ := buildPack(t, BuilderOptions{Method: seal.MethodRaw}, noise(1, seal.PlainMax))
	if _, err := readAll(testRing(t), id, data); err != nil || len(data) > PackMax {
		t.Errorf("a pack of %d bytes: %v", len(data), err)
	}
	small, err := NewBuilder(worker(t), BuilderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for small.Fits(1) {
		if _, err := small.Append(cut.ID{}, []byte{1}, seal.Raw, 1); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(small.Entries()); n != PackEntriesMax {
		t.Errorf("%d entries, want %d", n, PackEntriesMax)
	}
	if sid, data, _, err := small.Close(1); err != nil || len(readTail(t, sid, data).table) != PackEntriesMax*entryBytes+16 {
		t.Errorf("a pack of many: %v", err)
	}
}

// The pair of key and counter: within a builder the counter differs, between
// builders the key. The same chunk sealed twice shows it.
func TestNoKeyAndCounterTwice(t *testing.T) {
	chunk := noise(1, 1000)
	seen := map[string]bool{}
	var buf []byte
	for range 3 {
		b, err := NewBuilder(worker(t), BuilderOptions{Buf: buf})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			e, err := b.Add(cut.ID{1}, chunk)
			if err != nil {
				t.Fatal(err)
			}
			sealed := string(b.buf[e.Offset+seal.HeadBytes : e.Offset+e.Framed])
			if seen[sealed] {
				t.Fatal("one key and one nonce sealed twice")
			}
			seen[sealed] = true
		}
		id, data, _, err := b.Close(1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wholeTail(id, data); err != nil {
			t.Fatal(err)
		}
		buf = data // as the sealer does: memory is used again, keys are not
	}
}

// wholeTail is ReadPackTail of a pack in memory.
func wholeTail(id PackID, data []byte) (*PackTail, error) {
	t, _, err := ReadPackTail(data, int64(len(data)), id)
	return t, err
}

func TestBuilderNeedsKeysAndRandomness(t *testing.T) {
	for _, r := range []*Ring{{}, {Map: [32]byte{1}}, {Public: testRing(t).Public}} {
		if _, err := NewBuilder(r, BuilderOptions{}); !errors.Is(err, ErrNoKey) {
			t.Errorf("a ring without keys opens a pack: %v", err)
		}
	}
	for n := range 80 {
		rnd := io.MultiReader(bytes.NewReader(make([]byte, n)), iotest.ErrReader(errors.New("no entropy")))
		if _, err := NewBuilder(worker(t), BuilderOptions{Rand: rnd}); err == nil {
			t.Fatalf("%d random bytes are enough", n)
		}
	}
}

func BenchmarkBuilder(b *testing.B) {
	r := worker(b)
	chunk := bytes.Repeat(noise(1, 8192), 8)
	var buf []byte
	b.SetBytes(PackBytes)
	for b.Loop() {
		p, err := NewBuilder(r, BuilderOptions{Buf: buf})
		if err != nil {
			b.Fatal(err)
		}
		for p.Fits(len(chunk)) {
			if _, err := p.Append(cut.ID{}, chunk, seal.Raw, len(chunk)); err != nil {
				b.Fatal(err)
			}
		}
		if _, buf, _, err = p.Close(1); err != nil {
			b.Fatal(err)
		}
	}
}
