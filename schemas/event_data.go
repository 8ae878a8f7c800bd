package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// ReadData reads the data of an event of T's type. What others send is read
// strictly: an unknown field, a wrong type or a missing one is an error that
// names it by its path. What we say ourselves is read with tolerance, because
// a newer house may have added to it.
func ReadData[T Public](e Event) (T, error) {
	var data T
	if err := sameType(e.Type, data.EventType()); err != nil {
		return data, err
	}
	if _, ok := any(data).(Inbound); ok {
		if err := strict(reflect.TypeFor[T](), e.Data, ""); err != nil {
			return data, err
		}
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return data, fmt.Errorf("data: %w", err)
	}
	return data, nil
}

// sameType explains a type that is not the one wanted.
func sameType(have, want string) error {
	if have == want {
		return nil
	}
	wantBase, wantV := versionOf(want)
	if base, v := versionOf(have); base == wantBase {
		return fmt.Errorf("type %s is version %s, this house reads v%s", have, v, wantV)
	}
	return fmt.Errorf("type is %q, want %s", have, want)
}

// KnownType returns nil if typ is one of the types in want, else an error that
// says what it is instead: another version, or nothing known.
func KnownType(typ string, want ...string) error {
	base, v := versionOf(typ)
	for _, w := range want {
		if typ == w {
			return nil
		}
		if wb, wv := versionOf(w); wb == base {
			return fmt.Errorf("type %s is version %s, this house reads v%s", typ, v, wv)
		}
	}
	return fmt.Errorf("type %q is none of %s%s", typ, strings.Join(want, ", "), near(typ, want))
}

func versionOf(typ string) (base, version string) {
	i := strings.LastIndex(typ, ".v")
	if i < 0 || i+2 == len(typ) || strings.Trim(typ[i+2:], "0123456789") != "" {
		return typ, "0"
	}
	return typ[:i], typ[i+2:]
}

// object reads the fields of one JSON object. A field said twice is an error:
// one of the two would be lost.
func object(raw []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil {
		return nil, fmt.Errorf("no JSON: %w", err)
	} else if t != json.Delim('{') {
		return nil, fmt.Errorf("want an object, have %s", kindOf(raw))
	}
	fields := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("no JSON: %w", err)
		}
		name := t.(string)
		if _, twice := fields[name]; twice {
			return nil, fmt.Errorf("field %q is there twice", name)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("no JSON: %w", err)
		}
		fields[name] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("no JSON: %w", err)
	}
	if d.More() {
		return nil, errors.New("no JSON: more than one object")
	}
	return fields, nil
}

// strict holds raw against t, which is built of structs, slices, maps of
// strings and what reads itself from text.
func strict(t reflect.Type, raw json.RawMessage, path string) error {
	switch {
	case string(raw) == "null":
		return fmt.Errorf("%sis null: leave it out instead", at(path))
	case t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()):
		return strictStruct(t, raw, path)
	case t.Kind() == reflect.Slice:
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			return fmt.Errorf("%swant a list, have %s", at(path), kindOf(raw))
		}
		for i, item := range items {
			if err := strict(t.Elem(), item, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := json.Unmarshal(raw, reflect.New(t).Interface()); err != nil {
		return fmt.Errorf("%swant %s, have %s", at(path), wanted(t), shown(raw))
	}
	return nil
}

func strictStruct(t reflect.Type, raw json.RawMessage, path string) error {
	fields, err := object(raw)
	if err != nil {
		return fmt.Errorf("%s%w", at(path), err)
	}
	var names []string
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
		v, ok := fields[name]
		delete(fields, name)
		switch {
		case !ok && options == "":
			return fmt.Errorf("%sis missing", at(join(path, name)))
		case !ok:
			continue
		}
		if err := strict(f.Type, v, join(path, name)); err != nil {
			return err
		}
		if err := oneOf(f, v, join(path, name)); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		return fmt.Errorf("%sis no field%s", at(join(path, name)), near(name, names))
	}
	return nil
}

// oneOf reads the words allowed from the tag that makes the JSON Schema, so
// that the two cannot differ.
func oneOf(f reflect.StructField, v json.RawMessage, path string) error {
	var words []string
	for part := range strings.SplitSeq(f.Tag.Get("jsonschema"), ",") {
		if w, ok := strings.CutPrefix(part, "enum="); ok {
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return nil
	}
	said := map[string]string{}
	var s string
	var list []string
	if json.Unmarshal(v, &s) == nil {
		said[path] = s
	} else if json.Unmarshal(v, &list) == nil {
		for i, s := range list {
			said[fmt.Sprintf("%s[%d]", path, i)] = s
		}
	}
	for _, where := range slices.Sorted(maps.Keys(said)) {
		if s := said[where]; !slices.Contains(words, s) {
			return fmt.Errorf("%s%q is none of %s%s", at(where), s, strings.Join(words, ", "), near(s, words))
		}
	}
	return nil
}
