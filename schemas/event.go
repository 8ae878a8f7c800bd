package schemas

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Event is a CloudEvent 1.0 with JSON data, as the public topics carry it.
// Attributes that nobody here reads are let through and forgotten; the trace
// context rides beside it in a Kafka header of its own.
type Event struct {
	ID      string    // unique within Source; an event sent twice has the same
	Source  string    // who says it, a URI reference
	Type    string    // one of the constants of public.go
	Time    time.Time // when it happened; zero if the sender did not say
	Subject string    // what it is about: the machine, the restore
	Key     string    // attribute partitionkey, which the record's key repeats; may be empty
	Data    json.RawMessage
}

const (
	specVersion = "1.0"
	jsonType    = "application/json"
	eventType   = "application/cloudevents+json"
	batchType   = "application/cloudevents-batch+json"
)

// NewEvent makes an event that says data. The error is our bug: data that is
// no JSON.
func NewEvent(id, source string, at time.Time, subject string, data Public) (Event, error) {
	b, err := json.Marshal(data)
	if err != nil {
		return Event{}, fmt.Errorf("encode %s %s: %w", data.EventType(), id, err)
	}
	return Event{ID: id, Source: source, Type: data.EventType(), Time: at, Subject: subject, Key: subject, Data: b}, nil
}

// EncodeEvent writes e in binary mode: attributes in headers, data as the value.
func EncodeEvent(e Event) (headers map[string]string, value []byte, err error) {
	if err := e.check(); err != nil {
		return nil, nil, err
	}
	headers = map[string]string{"content-type": jsonType, "ce_specversion": specVersion,
		"ce_id": e.ID, "ce_source": e.Source, "ce_type": e.Type}
	if !e.Time.IsZero() {
		headers["ce_time"] = e.Time.UTC().Format(time.RFC3339Nano)
	}
	if e.Subject != "" {
		headers["ce_subject"] = e.Subject
	}
	if e.Key != "" {
		headers["ce_partitionkey"] = e.Key
	}
	return headers, e.Data, nil
}

// DecodeEvent reads an event in binary or structured mode. A value that is an
// object with specversion needs no content-type: who publishes by hand forgets
// the header. A batch is refused: the Kafka binding has none. The data is not
// looked into; ReadData does that. Beside an error stands what was read until
// then, which may tell who sent it: see Named.
func DecodeEvent(headers map[string]string, value []byte) (Event, error) {
	h := make(map[string]string, len(headers))
	for k, v := range headers {
		h[strings.ToLower(k)] = v
	}
	kind := mediaType(h["content-type"])
	switch {
	case !utf8.Valid(value): // before a JSON reader puts marks in place of what it cannot read
		return Event{}, errors.New("value is no UTF-8")
	case kind == batchType || kind == "" && startsWith(value, '['):
		return Event{}, errors.New("is a batch of events: send one event a record")
	case strings.HasPrefix(kind, "application/cloudevents") && kind != eventType:
		return Event{}, fmt.Errorf("content-type %q: this house reads %s", kind, eventType)
	case kind == eventType:
		return decodeStructured(value)
	case h["ce_specversion"] != "":
		return decodeBinary(h, kind, value)
	}
	for _, k := range slices.Sorted(maps.Keys(h)) {
		if strings.HasPrefix(k, "ce_") {
			return Event{}, fmt.Errorf("header ce_specversion is missing, beside %s", k)
		}
	}
	if len(value) == 0 {
		return Event{}, errors.New("is no event: no headers ce_…, and no value")
	}
	return decodeStructured(value)
}

func decodeBinary(h map[string]string, kind string, value []byte) (Event, error) {
	if v := h["ce_specversion"]; v != specVersion {
		return Event{}, fmt.Errorf("header ce_specversion is %q: this house reads %s", v, specVersion)
	}
	if err := jsonOnly("header content-type", kind); err != nil {
		return Event{}, err
	}
	e := Event{ID: h["ce_id"], Source: h["ce_source"], Type: h["ce_type"], Subject: h["ce_subject"], Key: h["ce_partitionkey"], Data: value}
	var err error
	if e.Time, err = eventTime(h["ce_time"]); err != nil {
		return Event{}, fmt.Errorf("header ce_time: %w", err)
	}
	return e, e.check()
}

// Named reports whether e says who it is, so that an answer finds its sender,
// whatever else is wrong with it.
func (e Event) Named() bool {
	bad := func(s string) bool {
		return s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl)
	}
	return !bad(e.ID) && !bad(e.Source)
}

// check holds e against what CloudEvents demands of every event.
func (e Event) check() error {
	for _, a := range []struct {
		name, value string
		must        bool
	}{{"id", e.ID, true}, {"source", e.Source, true}, {"type", e.Type, true}, {"subject", e.Subject, false}, {"partitionkey", e.Key, false}} {
		switch {
		case a.value == "" && a.must:
			return fmt.Errorf("attribute %s is missing", a.name)
		case !utf8.ValidString(a.value):
			return fmt.Errorf("attribute %s: %q is no UTF-8", a.name, a.value)
		case a.must && strings.ContainsFunc(a.value, unicode.IsControl):
			return fmt.Errorf("attribute %s: %q holds a control character", a.name, a.value)
		}
	}
	switch {
	case len(e.Data) == 0:
		return errors.New("has no data")
	case !utf8.Valid(e.Data): // it may have come as base64
		return errors.New("data is no UTF-8")
	case !json.Valid(e.Data):
		return fmt.Errorf("data is no JSON: %w", json.Unmarshal(e.Data, new(any)))
	}
	return nil
}

func eventTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no RFC 3339 time, as 2026-11-24T18:05:00Z", s)
	}
	return t, nil
}

// mediaType is s without its parameters, in small letters.
func mediaType(s string) string {
	s, _, _ = strings.Cut(s, ";")
	return strings.ToLower(strings.TrimSpace(s))
}

func jsonOnly(where, kind string) error {
	if kind == "" || kind == jsonType || kind == "text/json" || strings.HasSuffix(kind, "+json") {
		return nil
	}
	return fmt.Errorf("%s is %q: this house reads JSON", where, kind)
}

func startsWith(b []byte, c byte) bool {
	s := strings.TrimLeft(string(b[:min(len(b), 64)]), " \t\r\n")
	return s != "" && s[0] == c
}
