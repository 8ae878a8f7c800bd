package vault

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
)

// testdata/golden holds one object of each kind as version 1 of the format writes it,
// with fixed keys. They are read by every version there will ever be: what these
// tests can't read, no old vault can. They are written anew only when a version is
// added, never when code changes.
var update = flag.Bool("update-golden", false, "write testdata/golden anew")

var goldenPass = []byte("correct horse battery staple")

func golden(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "golden", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func seeded(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// goldenPack has a raw chunk, and one for each codec.
func goldenPack(t *testing.T) (PackID, []byte) {
	t.Helper()
	r := worker(t)
	b, err := NewBuilder(r, BuilderOptions{Rand: seeded(100)})
	if err != nil {
		t.Fatal(err)
	}
	n := cut.NewNamer(r.Name)
	for i, m := range []seal.Method{seal.MethodRaw, seal.MethodZstd, seal.MethodMinlz} {
		c, err := seal.NewCompressor(m)
		if err != nil {
			t.Fatal(err)
		}
		body, codec := c.Compress(nil, goldenChunks()[i])
		if _, err := b.Append(n.ID(goldenChunks()[i]), body, codec, len(goldenChunks()[i])); err != nil {
			t.Fatal(err)
		}
	}
	id, data, _, err := b.Close(7)
	if err != nil {
		t.Fatal(err)
	}
	return id, data
}

func goldenChunks() [][]byte {
	return [][]byte{noise(1, 1000), bytes.Repeat([]byte("holdfast "), 300), bytes.Repeat([]byte("vault "), 500)}
}

func goldenMap(t *testing.T) (PackID, []byte) {
	t.Helper()
	b, err := NewMapBuilder(testRing(t).Map, MapBuilderOptions{Rand: seeded(101)})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range goldenPages() {
		if _, err := b.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	id, data, err := b.Close(7)
	if err != nil {
		t.Fatal(err)
	}
	return id, data
}

func goldenPages() []Page {
	stream := Page{No: 1, Start: 4 << 20, Places: []PagePlace{{Kind: PlaceChunk, ID: cut.ID{1}, Pack: mapB, Framed: 50, Plain: 70000}}}
	return []Page{fullPage(0, 3), {No: 3, Start: 3 << 22, Places: []PagePlace{{Kind: PlaceZero}, {Kind: PlaceChunk, ID: cut.ID{2}, Pack: mapA, Offset: 99, Framed: 60}, {}}}, stream}
}

func goldenPoint(t *testing.T) []byte {
	t.Helper()
	b, err := encodePoint(seeded(102), testRing(t).Map, testPoint(t))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestUpdateGolden(t *testing.T) {
	if !*update {
		t.Skip("run with -update-golden for a new version of the format")
	}
	_, pack := goldenPack(t)
	_, maps := goldenMap(t)
	wrapped, err := WrapAt(cheap, testRing(t), goldenPass)
	if err != nil {
		t.Fatal(err)
	}
	paper, err := Paper(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	r := testRing(t)
	for name, b := range map[string][]byte{"v1.pack": pack, "v1.map": maps, "v1.point": goldenPoint(t), "v1.keys": wrapped.Body, "v1.paper": []byte(paper),
		NameFile: encodeKey(NameKey, r.Name[:]), MapFile: encodeKey(MapKey, r.Map[:]), PublicFile: encodeKey(PublicKey, r.Public.Bytes())} {
		if err := os.WriteFile(filepath.Join("testdata", "golden", name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A stranger's path: passphrase, wrapped keys, pack, chunks.
func TestGoldenPackIsRead(t *testing.T) {
	r, err := Unwrap(golden(t, "v1.keys"), goldenPass)
	if err != nil || !sameKeys(r, testRing(t)) {
		t.Fatalf("keys: %v", err)
	}
	data := golden(t, "v1.pack")
	id, again := goldenPack(t)
	got, err := readAll(r, id, data)
	if err != nil || !reflect.DeepEqual(got, goldenChunks()) {
		t.Fatalf("pack %s: %v", id, err)
	}
	for i, want := range []seal.Codec{seal.Raw, seal.Zstd, seal.Minlz} {
		entries, err := readTail(t, id, data).Table(r.Map)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := seal.ParseHead(data[entries[i].Offset:][:entries[i].Framed]); err != nil || h.Codec != want {
			t.Errorf("frame %d is %s, want %s: %v", i, h.Codec, want, err)
		}
	}
	if got, err := readAll(r, id, again); err != nil || !reflect.DeepEqual(got, goldenChunks()) {
		t.Errorf("as written today: %v", err)
	}
	// The raw frame depends on no compressor: it must be the same to the byte.
	if n := 1000 + seal.Overhead; !bytes.Equal(again[:n], data[:n]) {
		t.Error("the first frame is written otherwise than in version 1")
	}
}

func TestGoldenMapIsReadAndWritten(t *testing.T) {
	id, again := goldenMap(t)
	data := golden(t, "v1.map")
	pages, _, err := readMap(testRing(t).Map, id, data)
	if err != nil || !reflect.DeepEqual(pages, goldenPages()) {
		t.Fatalf("map pack %s: %v", id, err)
	}
	if !bytes.Equal(again, data) {
		t.Error("map packs are written otherwise than in version 1")
	}
}

func TestGoldenPointIsReadAndWritten(t *testing.T) {
	data := golden(t, "v1.point")
	p, err := DecodePoint(testRing(t).Map, data)
	if err != nil || !proto.Equal(p, testPoint(t)) {
		t.Fatalf("point: %v", err)
	}
	if !slices.Equal(slices.Collect(Runs(p, p.Files[0])), slices.Collect(Runs(testPoint(t), testPoint(t).Files[0]))) {
		t.Error("runs differ")
	}
	again := goldenPoint(t)
	if q, err := DecodePoint(testRing(t).Map, again); err != nil || !proto.Equal(q, p) || len(again) != len(data) {
		t.Errorf("as written today: %v", err)
	}
}

func TestGoldenKeysAreRead(t *testing.T) {
	o, err := ParsePaper(string(golden(t, "v1.paper")))
	if err != nil || !bytes.Equal(o.Body, golden(t, "v1.keys")) {
		t.Fatalf("paper: %v", err)
	}
	r := testRing(t)
	for p, name := range map[Part]string{NameKey: NameFile, MapKey: MapFile, PublicKey: PublicFile} {
		text := golden(t, name)
		key, err := decodeKey(p, text)
		if err != nil || !bytes.Equal(key, r.bytes(p)) || !bytes.Equal(encodeKey(p, key), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	const path = "points/6/d0c8e496124b78afd3f6e0d1998b600c/01010101-0101-0101-0101-010101010101-02020202-0202-0202-0202-020202020202"
	if got, err := PathOf(r.Map, testPoint(t)); err != nil || got != path {
		t.Errorf("path %s: %v", got, err)
	}
}

// vault.json, and the first epoch, are written as they were: a target whose file
// differs in a byte is another vault's.
func TestGoldenSettingsAreReadAndWritten(t *testing.T) {
	want := settingsFile{Format: 1, ID: "00112233445566778899aabbccddeeff", Targets: []string{"a", "b", "c"}, Target: "b",
		Settings: Settings{Name: "local", Region: "eu-1", GridBytes: 64 << 10, Compression: "zstd-fastest", K: 2, M: 1}}
	text := golden(t, "v1.settings")
	got, err := parseSettings(text)
	if err != nil || !reflect.DeepEqual(got, want) || !bytes.Equal(want.encode(), text) {
		t.Errorf("read %+v, %v; written %s", got, err, want.encode())
	}
	if !bytes.Equal(golden(t, "v1.epoch"), firstEpoch) {
		t.Errorf("the first epoch is written as %s", firstEpoch)
	}
}
