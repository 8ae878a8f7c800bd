package schemas

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// decodeStructured reads an event that is one JSON object.
func decodeStructured(value []byte) (Event, error) {
	if !startsWith(value, '{') {
		return Event{}, fmt.Errorf("is no event: no headers ce_…, and the value is no JSON object")
	}
	attrs, err := object(value)
	if err != nil {
		return Event{}, fmt.Errorf("is no event: %w", err)
	}
	if _, ok := attrs["specversion"]; !ok {
		return Event{}, errors.New("is no CloudEvent: no headers ce_…, and the value has no specversion")
	}
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		if !attributeName(name) {
			return Event{}, fmt.Errorf("attribute %q: names are small letters and digits%s", name, near(name, attributes))
		}
	}
	var e Event
	var version, at, kind string
	for _, a := range []struct {
		name string
		to   *string
	}{{"specversion", &version}, {"id", &e.ID}, {"source", &e.Source}, {"type", &e.Type}, {"subject", &e.Subject},
		{"partitionkey", &e.Key}, {"time", &at}, {"datacontenttype", &kind}} {
		raw, ok := attrs[a.name]
		if !ok || string(raw) == "null" {
			continue
		}
		if err := json.Unmarshal(raw, a.to); err != nil {
			return Event{}, fmt.Errorf("attribute %s: want a string, have %s", a.name, kindOf(raw))
		}
	}
	if version != specVersion {
		return Event{}, fmt.Errorf("attribute specversion is %q: this house reads %s", version, specVersion)
	}
	if err := jsonOnly("attribute datacontenttype", mediaType(kind)); err != nil {
		return Event{}, err
	}
	if e.Time, err = eventTime(at); err != nil {
		return Event{}, fmt.Errorf("attribute time: %w", err)
	}
	if e.Data, err = structuredData(attrs); err != nil {
		return Event{}, err
	}
	return e, e.check()
}

var attributes = []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "partitionkey"}

func attributeName(s string) bool {
	return s == "data_base64" || s != "" && !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
}

func structuredData(attrs map[string]json.RawMessage) (json.RawMessage, error) {
	packed, ok := attrs["data_base64"]
	if !ok {
		return attrs["data"], nil
	}
	if _, both := attrs["data"]; both {
		return nil, errors.New("has both data and data_base64")
	}
	var s string
	if err := json.Unmarshal(packed, &s); err != nil {
		return nil, fmt.Errorf("data_base64: want a string, have %s", kindOf(packed))
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("data_base64: %w", err)
	}
	return b, nil
}
