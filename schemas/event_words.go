package schemas

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// at is the start of an error about one field.
func at(path string) string {
	if path == "" {
		return "data: "
	}
	return "data." + path + ": "
}

func join(path, name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '"' }) || name == "" {
		name = fmt.Sprintf("%q", name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// kindOf names the JSON type of raw.
func kindOf(raw []byte) string {
	s := strings.TrimLeft(string(raw), " \t\r\n")
	if s == "" {
		return "nothing"
	}
	switch s[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}

const shownMax = 64 // bytes of a wrong value that an error repeats

func shown(raw []byte) string {
	if k := kindOf(raw); len(raw) > shownMax || k == "an object" || k == "a list" {
		return k
	}
	return string(raw)
}

// wanted names what a field of type t takes.
func wanted(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "a time, as 2026-11-24T18:05:00Z"
	case t == reflect.TypeFor[UUID]():
		return "an id of 8-4-4-4-12 hexadecimal digits"
	case t.Kind() == reflect.Map:
		return "an object of strings"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.String:
		return "a string"
	}
	return "a whole number of type " + t.Kind().String()
}

// near is the end of an error about a name that is none of names.
func near(name string, names []string) string {
	if n := Nearest(name, names); n != "" {
		return fmt.Sprintf(": did you mean %q?", n)
	}
	return ""
}

// nameMax bounds the work of a comparison, which is the product of two lengths.
const nameMax = 128

// Nearest is the one of names that name is most likely meant to be; empty if
// none is near: more than a third of its letters would have to change.
func Nearest(name string, names []string) string {
	if len(name) > nameMax {
		return ""
	}
	best, least := "", len([]rune(name))/3+1
	for _, n := range names {
		if len(n) > nameMax {
			continue
		}
		if d := distance([]rune(strings.ToLower(name)), []rune(strings.ToLower(n))); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance counts letters put in, taken out or changed (Levenshtein).
func distance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
