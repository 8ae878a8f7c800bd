package auditor

import (
	"runtime"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// Goal: spans say of each page what the first row that filed it said, in as few
// spans as there can be. Method: a map that remembers each page.
func TestFiledIsAMapOfPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f filed
		want := map[uint32]span{}
		for range rapid.IntRange(0, 30).Draw(t, "rows") {
			s := span{first: rapid.Uint32Range(0, 40).Draw(t, "first"), count: rapid.Uint32Range(1, 9).Draw(t, "count"), pack: rapid.Uint32Range(0, 2).Draw(t, "pack")}
			if s.pack != 0 {
				s.slot = s.first + rapid.Uint32Range(0, 1).Draw(t, "slot")
			}
			added := uint32(0)
			for p := s.first; p < s.end(); p++ {
				if _, ok := want[p]; !ok {
					want[p] = s.clip(p, p+1)
					added++
				}
			}
			if got := f.add(s); got != added {
				t.Fatalf("add %v: %d pages, want %d", s, got, added)
			}
		}
		if f.pages != uint64(len(want)) {
			t.Fatalf("%d pages, want %d", f.pages, len(want))
		}
		for p := range uint32(60) {
			w, ok := want[p]
			if f.has(p) != ok || f.covers(p, 1) != ok {
				t.Fatalf("page %d: filed %v, want %v", p, f.has(p), ok)
			}
			for s := range f.within(p, 1) {
				if s != w {
					t.Fatalf("page %d: %v, want %v", p, s, w)
				}
			}
		}
		for i := 1; i < len(f.spans); i++ {
			if a, b := f.spans[i-1], f.spans[i]; a.end() > b.first || a.follows(b) {
				t.Fatalf("spans %v and %v", a, b)
			}
		}
	})
}

func TestNumbersAreASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var n numbers
		want := map[uint64]bool{}
		for _, v := range rapid.SliceOf(rapid.Uint64Range(0, 30)).Draw(t, "numbers") {
			n.add(v)
			want[v] = true
		}
		for v := range uint64(40) {
			if n.has(v) != want[v] {
				t.Fatalf("%d: %v, in %v", v, n.has(v), n.ranges)
			}
		}
		for i := 1; i < len(n.ranges); i++ {
			if n.ranges[i-1][1]+1 >= n.ranges[i][0] {
				t.Fatalf("ranges touch: %v", n.ranges)
			}
		}
	})
}

// A disk of 2 TiB has 524,288 pages. At worst each is a span of its own, and they
// come from far apart; they must stay under 50 MB.
func TestFiledPagesOfALargeDiskStaySmall(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f := new(filed)
	const pages = 2 << 40 / (64 * 64 << 10)
	for i := range uint32(pages) {
		f.add(span{first: i, count: 1, pack: 1 + i%400, slot: i % 1400})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if got := int64(after.HeapAlloc) - int64(before.HeapAlloc); got > 50<<20 || len(f.spans) != pages {
		t.Errorf("%d spans take %d bytes", len(f.spans), got)
	}
	if unsafe.Sizeof(span{}) != 16 {
		t.Errorf("a span takes %d bytes", unsafe.Sizeof(span{}))
	}
	runtime.KeepAlive(f)
}

// A key that this house did not write names nothing, and none is taken for another.
func FuzzSplitKey(f *testing.F) {
	r := "0123456789abcdef"
	for _, name := range []string{rowVerdict, rowCompleting, leaseRow([]byte(r)), pagesRow([]byte(r), "e1-ff"), partRow([]byte(r), "x", 2), "lease/zz", "", "pages/"} {
		f.Add([]byte(r + "/" + name))
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		backup, name, _, within, ok := splitKey(key)
		if ok && string(backup.Bytes())+"/"+name != string(key) {
			t.Fatalf("%q was read as %x and %q", key, backup, name)
		}
		if ok && len(within) > len(key) {
			t.Fatal("within is longer than its key")
		}
	})
}
