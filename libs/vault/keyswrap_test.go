package vault

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"runtime"
	"strings"
	"testing"
)

// cheap makes a guess cost a test a millisecond.
var cheap = WrapCost{Passes: 1, MemoryKiB: 64, Threads: 1}

func wrapped(t testing.TB) KeyObject {
	t.Helper()
	o, err := WrapAt(cheap, testRing(t), []byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// The object and the passphrase give the whole ring back; each of the three ways in
// which that can fail has its own error.
func TestWrappedKeysComeBack(t *testing.T) {
	o := wrapped(t)
	r, err := Unwrap(o.Body, []byte("correct horse"))
	if err != nil || !sameKeys(r, testRing(t)) {
		t.Fatalf("%+v: %v", r, err)
	}
	id, data, _ := buildPack(t, BuilderOptions{}, []byte("holdfast"))
	if got, err := readAll(r, id, data); err != nil || string(got[0]) != "holdfast" {
		t.Errorf("the unwrapped ring reads %q: %v", got, err)
	}
	if _, err := Unwrap(o.Body, []byte("correct horsf")); !errors.Is(err, ErrPassphrase) || errors.Is(err, ErrTorn) {
		t.Errorf("a wrong passphrase: %v", err)
	}
	for i := range o.Body {
		bad := bytes.Clone(o.Body)
		bad[i] ^= 1
		if _, err := Unwrap(bad, []byte("correct horse")); !errors.Is(err, ErrTorn) || errors.Is(err, ErrPassphrase) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		if _, err := Unwrap(o.Body[:i], []byte("correct horse")); !errors.Is(err, ErrTorn) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	if again := wrapped(t); again.ID == o.ID || bytes.Equal(again.Body, o.Body) {
		t.Error("two wraps are one object")
	}
}

// What a stranger writes must not make us spend a machine's memory, nor pass as a key
// of another vault.
func TestFalseWrappedKeys(t *testing.T) {
	resum := func(change func(b []byte)) []byte {
		b := bytes.Clone(wrapped(t).Body)
		change(b)
		sum := sha256.Sum256(b[:wrapBytes-wrapCheck])
		copy(b[wrapBytes-wrapCheck:], sum[:])
		return b
	}
	for name, change := range map[string]func(b []byte){
		"version":     func(b []byte) { b[7] = 2 },
		"kdf":         func(b []byte) { b[24] = 2 },
		"no pass":     func(b []byte) { b[28] = 0 },
		"many passes": func(b []byte) { b[25] = 1 },
		"much memory": func(b []byte) { b[29] = 1 },
		"no lanes":    func(b []byte) { b[33] = 0 },
	} {
		if _, err := Unwrap(resum(change), []byte("correct horse")); err == nil || errors.Is(err, ErrPassphrase) {
			t.Errorf("%s: the passphrase was tried: %v", name, err)
		}
	}
	for at, what := range map[int]string{8: "vault key id", 100: "sealed bytes"} {
		if _, err := Unwrap(resum(func(b []byte) { b[at] ^= 1 }), []byte("correct horse")); err == nil {
			t.Errorf("other %s: it opens", what)
		}
	}
	if _, err := WrapAt(cheap, worker(t), []byte("x")); !errors.Is(err, ErrNoKey) {
		t.Errorf("a ring without private half is wrapped: %v", err)
	}
	if _, err := WrapAt(cheap, testRing(t), nil); err == nil {
		t.Error("an empty passphrase is taken")
	}
}

// Paper can be typed back: in small letters, with O for 0 and l for 1, with blanks and
// dashes as they come. A slip is named by its line.
func TestPaperComesBack(t *testing.T) {
	o := wrapped(t)
	paper, err := Paper(o)
	if err != nil {
		t.Fatal(err)
	}
	slack := strings.NewReplacer("0", "o", "1", "l", "  ", " - ")
	var lines []string
	for _, l := range strings.Split(paper, "\n")[2:] {
		if no, rest, ok := strings.Cut(l, ":"); ok {
			lines = append(lines, no+" :"+slack.Replace(strings.ToLower(rest)), "")
		}
	}
	for _, text := range []string{paper, strings.ReplaceAll(paper, "\n", "\r\n"), strings.Join(lines, "\n")} {
		back, err := ParsePaper(text)
		if err != nil || back.ID != o.ID || !bytes.Equal(back.Body, o.Body) {
			t.Fatalf("%v from\n%s", err, text)
		}
	}
	slip := strings.Split(paper, "\n")
	at := strings.Index(slip[5], ":") + 4
	other := "7"
	if slip[5][at] == '7' {
		other = "8"
	}
	slip[5] = slip[5][:at] + other + slip[5][at+1:]
	if _, err := ParsePaper(strings.Join(slip, "\n")); !errors.Is(err, ErrTorn) || !strings.Contains(err.Error(), "line 4:") {
		t.Errorf("a slip in line 4: %v", err)
	}
	if _, err := ParsePaper(strings.Join(append(strings.Split(paper, "\n")[:4], strings.Split(paper, "\n")[5:]...), "\n")); err == nil || !strings.Contains(err.Error(), "line 4 where 3") {
		t.Errorf("a line left out: %v", err)
	}
	if _, err := ParsePaper(strings.Join(strings.Split(paper, "\n")[:6], "\n")); !errors.Is(err, ErrTorn) {
		t.Errorf("half of it: %v", err)
	}
}

func FuzzParseWrapped(f *testing.F) {
	f.Add(wrapped(f).Body)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == wrapBytes { // let it get past the checksum
			copy(b[wrapBytes-wrapCheck:], check(b[:wrapBytes-wrapCheck]))
		}
		if w, err := ParseWrapped(b); err == nil && w.Cost.check() != nil {
			t.Fatalf("cost %+v passes", w.Cost)
		}
	})
}

func FuzzParsePaper(f *testing.F) {
	paper, err := Paper(wrapped(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(paper)
	f.Fuzz(func(t *testing.T, text string) {
		if o, err := ParsePaper(text); err == nil {
			if _, err := ParseWrapped(o.Body); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What a guess needs of memory is given back with its answer: a service unwraps once
// and lives for months.
func TestUnwrapGivesItsMemoryBack(t *testing.T) {
	o, err := WrapAt(WrapCost{Passes: 1, MemoryKiB: 128 << 10, Threads: 1}, testRing(t), []byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	held := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapSys - m.HeapReleased
	}
	if _, err := Unwrap(o.Body, []byte("correct horse")); err != nil {
		t.Fatal(err)
	}
	if n := held(); n > 100<<20 {
		t.Errorf("%d MiB of heap are held after 128 MiB of Argon2id", n>>20)
	}
}
