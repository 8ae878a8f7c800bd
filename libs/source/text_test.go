package source

import (
	"testing"
	"unicode/utf8"

	"github.com/holdfast-backup/holdfast/schemas"
)

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "plain.raw", "a\nb", "bad\xff\xfe", "\U0001F4BE", "\uf7ff", "\ufffd", "\xf0\x9f", "%41", "\uf780x\xf7"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		text := Text(raw)
		if !utf8.ValidString(text) {
			t.Errorf("Text(%q) = %q is not UTF-8", raw, text)
		}
		if back := Raw(text); back != raw {
			t.Errorf("Raw(Text(%q)) = %q", raw, back)
		}
	})
}

func TestExcludes(t *testing.T) {
	disk := File{Key: "sub/swap 1.raw", Name: "Hard disk 2", Kind: schemas.FileExported_KIND_DISK}
	for pattern, want := range map[string]bool{
		"sub/swap 1.raw": true, "swap*": true, "*.raw": true, "Hard disk 2": true, "Hard*": true, "sub/*": true,
		"swap": false, "*.img": false, "[": false, "": false,
	} {
		if got := (Order{Exclude: []string{pattern}}).Excludes(disk); got != want {
			t.Errorf("%q excludes the disk: %v", pattern, got)
		}
	}
	if (Order{Exclude: []string{"*"}}).Excludes(File{Key: "vm.xml", Kind: schemas.FileExported_KIND_CONFIG}) {
		t.Error("settings are excluded")
	}
	for _, bad := range []string{"", " ", "[", "[a-"} {
		if CheckExclude(bad) == nil {
			t.Errorf("pattern %q passes", bad)
		}
	}
}
