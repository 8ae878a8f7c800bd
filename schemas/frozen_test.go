package schemas

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// testdata/events is events/ as it was published: what people built on. It gets files
// with a new type, and none in it is changed.
func TestYesterdaysEventsAreRead(t *testing.T) {
	files, err := filepath.Glob("testdata/events/*.example.json")
	if err != nil || len(files) < 7 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		e, err := DecodeEvent(nil, b)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if err := schemaOf(t, e.Type).Validate(instance(t, e.Data)); err != nil {
			t.Errorf("%s: today's schema refuses it: %v", file, err)
		}
		for _, x := range examples() {
			if x.data.EventType() == e.Type {
				if err := readAny(e, x.data); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			}
		}
	}
}

// Of a published schema every property stays, of its type; an order needs nothing
// more than it did, and what is told has at least the words that it had.
func TestSchemasOnlyGrow(t *testing.T) {
	files, err := filepath.Glob("testdata/events/*.schema.json")
	if err != nil || len(files) < 7 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		was, is := jsonOf(t, file), jsonOf(t, strings.Replace(file, "testdata/", "", 1))
		for _, bad := range shrunk("$", was, is) {
			t.Errorf("%s: %s", filepath.Base(file), bad)
		}
	}
}

func jsonOf(t *testing.T, file string) (v map[string]any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func shrunk(at string, was, is map[string]any) (bad []string) {
	for _, same := range []string{"type", "format"} {
		if was[same] != is[same] {
			bad = append(bad, fmt.Sprintf("%s: %s was %v and is %v", at, same, was[same], is[same]))
		}
	}
	if enum, ok := was["enum"].([]any); ok {
		now, _ := is["enum"].([]any)
		for _, word := range enum {
			if !slices.Contains(now, word) {
				bad = append(bad, fmt.Sprintf("%s: the word %v is gone", at, word))
			}
		}
	}
	if is["additionalProperties"] == false { // an order
		now, _ := is["required"].([]any)
		before, _ := was["required"].([]any)
		for _, name := range now {
			if !slices.Contains(before, name) {
				bad = append(bad, fmt.Sprintf("%s: %v is needed now", at, name))
			}
		}
	}
	if items, ok := was["items"].(map[string]any); ok {
		now, _ := is["items"].(map[string]any)
		bad = append(bad, shrunk(at+"[]", items, now)...)
	}
	props, _ := was["properties"].(map[string]any)
	now, _ := is["properties"].(map[string]any)
	for name, p := range props {
		q, ok := now[name].(map[string]any)
		if !ok {
			bad = append(bad, fmt.Sprintf("%s.%s is gone", at, name))
			continue
		}
		bad = append(bad, shrunk(at+"."+name, p.(map[string]any), q)...)
	}
	return bad
}
