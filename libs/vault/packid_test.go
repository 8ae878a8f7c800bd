package vault

import (
	"strings"
	"testing"
)

// An id has one spelling in text, in keys, in messages and in object names.
func TestPackIDComesBack(t *testing.T) {
	for _, birth := range []uint64{0, 1, 42, 1<<64 - 1} {
		p := NewPackID(birth)
		if q, err := ParsePackID(p.String()); err != nil || q != p {
			t.Errorf("ParsePackID(%s) = %s, %v", p, q, err)
		}
		key := p.Key()
		if q, err := PackIDFromKey(key[:]); err != nil || q != p {
			t.Errorf("from key: %s, %v, want %s", q, err, p)
		}
		if q, err := PackIDFromProto(p.Proto()); err != nil || q != p {
			t.Errorf("from proto: %s, %v, want %s", q, err, p)
		}
		if q, isMap, rest, err := PackIDFromObject(p.Prefix() + "3.g0"); err != nil || q != p || isMap || rest != "3.g0" {
			t.Errorf("from %s: %s, %v, %q, %v", p.Prefix(), q, isMap, rest, err)
		}
		if q, isMap, _, err := PackIDFromObject(p.MapPrefix() + "3.g0"); err != nil || q != p || !isMap {
			t.Errorf("from %s: %s, %v, %v", p.MapPrefix(), q, isMap, err)
		}
	}
	if p, q := NewPackID(1), NewPackID(1); p == q {
		t.Error("two fresh ids are one")
	}
	a, b := PackID{Birth: 9}, PackID{Birth: 10}
	if a.Compare(b) >= 0 || b.Compare(a) <= 0 || a.Compare(a) != 0 {
		t.Error("births are not compared as numbers")
	}
}

func TestOtherSpellingsAreRefused(t *testing.T) {
	good := PackID{Birth: 7, ID: [16]byte{0xab}}.String()
	for _, s := range []string{"", "e", "e7", "7-" + good[3:], "e07-" + good[3:], "e+7-" + good[3:], "e7-" + strings.ToUpper(good[3:]), good + "0", good[:len(good)-1], "e99999999999999999999-" + good[3:], "ee7-" + good[3:]} {
		if p, err := ParsePackID(s); err == nil {
			t.Errorf("%q is taken for %s", s, p)
		}
	}
	for _, s := range []string{"", "packs/", "packs/7/ab/0.g0", "points/7/" + good[3:] + "/0.g0", "packs/7/" + good[3:], "packs/007/" + good[3:] + "/0.g0"} {
		if p, _, _, err := PackIDFromObject(s); err == nil {
			t.Errorf("object %q is taken for one of %s", s, p)
		}
	}
}

func FuzzParsePackID(f *testing.F) {
	f.Add(PackID{Birth: 7, ID: [16]byte{0xab}}.String())
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePackID(s); err == nil && p.String() != s {
			t.Fatalf("%q is taken for %s", s, p)
		}
		if p, isMap, rest, err := PackIDFromObject(s); err == nil && (isMap && p.MapPrefix()+rest != s || !isMap && p.Prefix()+rest != s) {
			t.Fatalf("object %q is taken for one of %s", s, p)
		}
	})
}
