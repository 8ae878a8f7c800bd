package vault

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
)

func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// testRing is a whole ring of fixed keys.
func testRing(t testing.TB) *Ring {
	t.Helper()
	private, err := kem.NewPrivateKey(noise(3, 32))
	if err != nil {
		t.Fatal(err)
	}
	return &Ring{Name: [32]byte(noise(1, 32)), Map: [32]byte(noise(2, 32)), Public: private.PublicKey(), Private: private}
}

// worker is a ring as the compressor-encryptor holds it.
func worker(t testing.TB) *Ring {
	r := *testRing(t)
	r.Private = nil
	return &r
}

// testChunks are of several sizes, some that shrink and some that don't.
func testChunks() [][]byte {
	return [][]byte{noise(10, 65536), bytes.Repeat([]byte("holdfast"), 8192), {0}, noise(11, 5000), bytes.Repeat([]byte{1}, 300<<10)}
}

func buildPack(t testing.TB, o BuilderOptions, chunks ...[]byte) (PackID, []byte, []Entry) {
	t.Helper()
	r := worker(t)
	b, err := NewBuilder(r, o)
	if err != nil {
		t.Fatal(err)
	}
	n := cut.NewNamer(r.Name)
	for _, c := range chunks {
		if _, err := b.Add(n.ID(c), c); err != nil {
			t.Fatal(err)
		}
	}
	id, data, entries, err := b.Close(7)
	if err != nil {
		t.Fatal(err)
	}
	return id, data, entries
}

func readTail(t testing.TB, id PackID, data []byte) *PackTail {
	t.Helper()
	tail, more, err := ReadPackTail(data, int64(len(data)), id)
	if err != nil || more != 0 {
		t.Fatalf("tail: %v, more %d", err, more)
	}
	return tail
}

// readAll reads every chunk of a pack as a stranger would: table, keys, frames, names.
func readAll(r *Ring, id PackID, data []byte) (out [][]byte, err error) {
	tail, more, err := ReadPackTail(data, int64(len(data)), id)
	if err != nil || more != 0 {
		return nil, fmt.Errorf("tail: more %d: %w", more, err)
	}
	entries, err := tail.Table(r.Map)
	if err != nil {
		return nil, err
	}
	keys, err := tail.Keys(r)
	if err != nil {
		return nil, err
	}
	o, err := seal.NewOpener()
	if err != nil {
		return nil, err
	}
	n := cut.NewNamer(r.Name)
	for _, e := range entries {
		plain, err := keys.Open(o, nil, e.ID, data[e.Offset:e.Offset+e.Framed])
		if err != nil {
			return nil, err
		}
		if n.ID(plain) != e.ID || len(plain) != int(e.Plain) {
			return nil, fmt.Errorf("%w: chunk %s is not what it is called", ErrDamaged, e.ID)
		}
		out = append(out, plain)
	}
	return out, nil
}

func TestPackComesBack(t *testing.T) {
	for _, m := range seal.Methods {
		id, data, entries := buildPack(t, BuilderOptions{Method: m}, testChunks()...)
		got, err := readAll(testRing(t), id, data)
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		if len(got) != len(entries) || id.Birth != 7 {
			t.Fatalf("%s: %d chunks of %d, pack %s", m, len(got), len(entries), id)
		}
		for i, c := range testChunks() {
			if !bytes.Equal(got[i], c) {
				t.Errorf("%s: chunk %d comes back changed", m, i)
			}
		}
	}
}

// Whoever has no private half sees the table and nothing else; whoever has no map
// key sees nothing.
func TestKeysPartWhatCanBeSeen(t *testing.T) {
	id, data, entries := buildPack(t, BuilderOptions{}, testChunks()...)
	tail := readTail(t, id, data)
	if got, err := tail.Table(worker(t).Map); err != nil || len(got) != len(entries) || got[1] != entries[1] {
		t.Errorf("a worker does not get the table: %v", err)
	}
	if _, err := tail.Keys(worker(t)); !errors.Is(err, ErrNoKey) {
		t.Errorf("a worker gets content keys: %v", err)
	}
	if _, err := tail.Table([32]byte{1}); !errors.Is(err, ErrDamaged) {
		t.Errorf("another map key: %v", err)
	}
	other, err := NewRing()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tail.Keys(other); !errors.Is(err, ErrWrongKey) {
		t.Errorf("another vault key: %v", err)
	}
}

// Every byte of the file is proven: a flip is found with the map key alone in table,
// slots and footer, and with the private half in the frames, but for the slot byte,
// which then names a slot that is not there.
func TestFlippedBytesOfAPackAreFound(t *testing.T) {
	chunks := [][]byte{noise(1, 90), bytes.Repeat([]byte("a"), 400)}
	id, data, entries := buildPack(t, BuilderOptions{}, chunks...)
	frames := int(entries[1].Offset + entries[1].Framed)
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x10
		if i >= frames {
			tail, more, err := ReadPackTail(bad, int64(len(bad)), id)
			if err == nil && more == 0 {
				_, err = tail.Table(testRing(t).Map)
			}
			if err == nil && more == 0 {
				t.Fatalf("byte %d of %d flipped: the map key does not tell", i, len(data))
			}
		} else if _, err := readAll(testRing(t), id, bad); err == nil {
			t.Fatalf("byte %d of %d flipped: it reads", i, len(data))
		}
	}
	if _, _, err := ReadPackTail(data, int64(len(data)), NewPackID(7)); !errors.Is(err, ErrDamaged) {
		t.Errorf("under another name: %v", err)
	}
}

// A reader that got too little is told how much it needs, and then is satisfied.
func TestTailIsReadFromTheEnd(t *testing.T) {
	id, data, _ := buildPack(t, BuilderOptions{}, testChunks()...)
	size, need := int64(len(data)), int64(1)
	for range 3 {
		tail, more, err := ReadPackTail(data[size-need:], size, id)
		if err != nil {
			t.Fatalf("with the last %d bytes: %v", need, err)
		}
		if more == 0 {
			if _, err := tail.Table(testRing(t).Map); err != nil || tail.Bytes > need {
				t.Fatalf("with the last %d bytes: %v", need, err)
			}
			return
		}
		if more <= need {
			t.Fatalf("with %d bytes it wants %d", need, more)
		}
		need = more
	}
	t.Fatal("it is never satisfied")
}

// Frames move to another pack with their key slot: only the slot's number changes.
func TestFramesCanMove(t *testing.T) {
	id, data, entries := buildPack(t, BuilderOptions{}, testChunks()...)
	_, second, _ := buildPack(t, BuilderOptions{}, []byte("another"))
	from := readTail(t, id, data)
	frame := bytes.Clone(data[entries[1].Offset:][:entries[1].Framed])
	frame[0] = 1
	moved := NewPackID(9)
	other := readTail(t, PackID{7, [16]byte(second[len(second)-packFooter+40:])}, second)
	e := entries[1]
	e.Offset = 0
	out, err := appendTail(bytes.Clone(frame), worker(t).Map, tail{pack: moved, salt: [32]byte{1}, slots: append(bytes.Clone(other.slots), from.slots...), entries: []Entry{e}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(testRing(t), moved, out); err != nil || !bytes.Equal(got[0], testChunks()[1]) {
		t.Errorf("a moved frame: %v", err)
	}
}

func FuzzReadPackTail(f *testing.F) {
	id, data, _ := buildPack(f, BuilderOptions{}, []byte("holdfast"))
	f.Add(data, int64(len(data)))
	f.Add(data[len(data)-packFooter:], int64(len(data)))
	f.Fuzz(func(t *testing.T, end []byte, size int64) {
		tail, more, err := ReadPackTail(end, size, id)
		if err == nil && (more != 0) != (tail == nil) || more < 0 || more > PackMax {
			t.Fatalf("tail %v, more %d", tail, more)
		}
		if tail != nil {
			entries, err := tail.Table(testRing(t).Map)
			if err == nil && len(entries) != 1 {
				t.Fatalf("%d entries", len(entries))
			}
		}
	})
}
