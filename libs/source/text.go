package source

import (
	"strings"
	"unicode/utf8"
)

// A file system's names are bytes, and a record's strings must be valid UTF-8.
// Each byte that is not goes to a rune of its own in the private use area, and
// so do the bytes of a name that already holds such a rune; so Raw(Text(s)) == s
// for every s, and a name that is plain UTF-8 stays what it is.
const (
	escape    = 0xF700 // + the byte
	escapeMin = escape + 0x80
	escapeMax = escape + 0xFF
)

// Text makes a name valid UTF-8.
func Text(raw string) string {
	if plain(raw) {
		return raw
	}
	var b strings.Builder
	for i := 0; i < len(raw); {
		r, n := utf8.DecodeRuneInString(raw[i:])
		if bad(r, n) {
			for _, c := range []byte(raw[i : i+n]) {
				b.WriteRune(escape + rune(c))
			}
		} else {
			b.WriteString(raw[i : i+n])
		}
		i += n
	}
	return b.String()
}

// Raw is the inverse of Text: the name as the file system has it.
func Raw(text string) string {
	var b []byte
	for _, r := range text {
		if r >= escapeMin && r <= escapeMax {
			b = append(b, byte(r-escape))
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return string(b)
}

func bad(r rune, n int) bool {
	return r == utf8.RuneError && n == 1 || r >= escapeMin && r <= escapeMax
}

func plain(s string) bool {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if bad(r, n) {
			return false
		}
		i += n
	}
	return true
}
