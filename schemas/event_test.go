package schemas

import (
	"strings"
	"testing"
	"time"
)

// Both modes say the same event; what is neither is told what is wrong with it.

func TestEventComesBack(t *testing.T) {
	at := time.Date(2026, 11, 24, 18, 5, 0, 1000, time.UTC)
	e, err := NewEvent("1", "/nightly", at, "vc-a/vm-1", BackupCancel{Job: JobID("/nightly", "0")})
	if err != nil {
		t.Fatal(err)
	}
	headers, value, err := EncodeEvent(e)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeEvent(headers, value)
	if err != nil || got.ID != "1" || got.Source != "/nightly" || got.Type != TypeBackupCancel || !got.Time.Equal(at) ||
		got.Subject != "vc-a/vm-1" || got.Key != "vc-a/vm-1" || string(got.Data) != string(e.Data) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if data, err := ReadData[BackupCancel](got); err != nil || data.Job != JobID("/nightly", "0") {
		t.Fatalf("got %+v, %v", data, err)
	}
}

func TestEventWithoutHeaders(t *testing.T) {
	for name, value := range map[string]string{
		"plain":  `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}`,
		"base64": ` {"specversion":"1.0","id":"1","source":"/s","type":"t","subject":null,"data_base64":"eyJhIjoxfQ=="}`,
	} {
		e, err := DecodeEvent(nil, []byte(value))
		if err != nil || e.ID != "1" || string(e.Data) != `{"a":1}` {
			t.Errorf("%s: got %+v, %v", name, e, err)
		}
	}
	if _, err := DecodeEvent(map[string]string{"Content-Type": "application/cloudevents+json; charset=utf-8"},
		[]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{}}`)); err != nil {
		t.Error(err)
	}
}

func TestBadEnvelopes(t *testing.T) {
	binary := func(kv ...string) map[string]string {
		h := map[string]string{"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/s", "ce_type": "t"}
		for i := 0; i < len(kv); i += 2 {
			h[kv[i]] = kv[i+1]
		}
		return h
	}
	for _, c := range []struct {
		headers     map[string]string
		value, want string
	}{
		{nil, ``, "no value"},
		{nil, `hello`, "no JSON object"},
		{nil, `{"id":`, "no JSON"},
		{nil, `{"machines":["a"]}`, "no specversion"},
		{nil, `[{"specversion":"1.0"}]`, "batch"},
		{nil, `{"specversion":"1.0"} {}`, "more than one object"},
		{nil, `{"specversion":"1.0","id":"1","id":"2"}`, `"id" is there twice`},
		{nil, `{"specversion":"0.3","id":"1"}`, `"0.3": this house reads 1.0`},
		{nil, `{"specversion":"1.0","id":7}`, "attribute id: want a string, have a number"},
		{nil, `{"specversion":"1.0","Source":"x"}`, `did you mean "source"?`},
		{nil, `{"specversion":"1.0","id":"1","source":"s","type":"t"}`, "no data"},
		{nil, `{"specversion":"1.0","id":"1","source":"s","type":"t","time":"today","data":{}}`, "no RFC 3339 time"},
		{nil, `{"specversion":"1.0","id":"1","source":"s","type":"t","data":{},"data_base64":""}`, "both"},
		{nil, `{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"!"}`, "base64"},
		{nil, `{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"text/xml","data":{}}`, "reads JSON"},
		{nil, "{\"specversion\":\"1.0\",\"id\":\"\xff\"}", "UTF-8"},
		{map[string]string{"content-type": "application/cloudevents-batch+json"}, `[]`, "batch"},
		{map[string]string{"content-type": "application/cloudevents+avro"}, `x`, "this house reads application/cloudevents+json"},
		{map[string]string{"ce_id": "1"}, `{}`, "ce_specversion is missing"},
		{binary("ce_specversion", "2.0"), `{}`, `"2.0": this house reads 1.0`},
		{binary("ce_id", ""), `{}`, "attribute id is missing"},
		{binary("ce_source", "a\nb"), `{}`, "control character"},
		{binary("ce_type", "\xff"), `{}`, "no UTF-8"},
		{binary("ce_time", "1"), `{}`, "no RFC 3339 time"},
		{binary("content-type", "text/plain"), `{}`, "reads JSON"},
		{binary(), ``, "no data"},
		{binary(), `{`, "no JSON"},
	} {
		if _, err := DecodeEvent(c.headers, []byte(c.value)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v %s: got %v, want … %s …", c.headers, c.value, err, c.want)
		}
	}
}

func TestBadData(t *testing.T) {
	for data, want := range map[string]string{
		`[]`:                                    "data: want an object, have a list",
		`{"machines":"a"}`:                      "data.machines: want a list, have a string",
		`{"machines":["a",7]}`:                  "data.machines[1]: want a string, have 7",
		`{"machines":null}`:                     "data.machines: is null",
		`{"machine":["a"]}`:                     `data.machine: is no field: did you mean "machines"?`,
		`{"machines":["a"],"notafter":"2026"}`:  `data.notafter: is no field: did you mean "notAfter"?`,
		`{"machines":["a"],"machines":[]}`:      `"machines" is there twice`,
		`{"notAfter":"tomorrow"}`:               "data.notAfter: want a time",
		`{"priority":1.5}`:                      "data.priority: want a whole number of type int32, have 1.5",
		`{"priority":4294967296}`:               "data.priority: want a whole number",
		`{"mode":"ful"}`:                        `data.mode: "ful" is none of incremental, full: did you mean "full"?`,
		`{"selectors":[{"name":"a","rack":1}]}`: "data.selectors[0].rack: is no field",
		"{\"a\\nb\":1}":                         `data."a\nb": is no field`,
	} {
		_, err := ReadData[BackupRequested](Event{Type: TypeBackupRequested, Data: []byte(data)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want … %s …", data, err, want)
		}
	}
	for data, want := range map[string]string{
		`{}`:            "data.job: is missing",
		`{"job":"x-y"}`: "data.job: want an id of",
	} {
		_, err := ReadData[BackupCancel](Event{Type: TypeBackupCancel, Data: []byte(data)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want … %s …", data, err, want)
		}
	}
	if _, err := ReadData[PolicyDeclared](Event{Type: TypePolicyDeclared, Data: []byte(`{"name":"a","blackout":[{"days":["mon","tues"],"from":"1","to":"2"}]}`)}); err == nil ||
		!strings.Contains(err.Error(), `data.blackout[0].days[1]: "tues" is none of mon, tue, wed, thu, fri, sat, sun: did you mean "tue"?`) {
		t.Errorf("got %v", err)
	}
	if _, err := ReadData[PolicyDeclared](Event{Type: TypePolicyDeclared, Data: []byte(`{"name":"a","spreadMinutes":-1}`)}); err == nil ||
		!strings.Contains(err.Error(), "data.spreadMinutes: want a whole number of type uint32, have -1") {
		t.Errorf("got %v", err)
	}
	if _, err := ReadData[RestoreRequested](Event{Type: TypeRestoreRequested, Data: []byte(`{"point":"p","destination":{"networks":{"a":7}}}`)}); err == nil ||
		!strings.Contains(err.Error(), "data.destination.networks") {
		t.Errorf("got %v", err)
	}
}

func TestAnotherVersion(t *testing.T) {
	_, err := ReadData[BackupRequested](Event{Type: "dev.holdfast.backup.requested.v2", Data: []byte(`{}`)})
	if err == nil || !strings.Contains(err.Error(), "is version 2, this house reads v1") {
		t.Errorf("got %v", err)
	}
	if err := KnownType("dev.holdfast.backup.cancel.v10", TypeBackupRequested, TypeBackupCancel); err == nil ||
		!strings.Contains(err.Error(), "is version 10, this house reads v1") {
		t.Errorf("got %v", err)
	}
	if err := KnownType("dev.holdfast.backup.request.v1", TypeBackupRequested); err == nil || !strings.Contains(err.Error(), "did you mean") {
		t.Errorf("got %v", err)
	}
}

// A newer house may add to what it says; an older reader must not break.
func TestOutboundIsReadWithTolerance(t *testing.T) {
	data, err := ReadData[BackupCompleted](Event{Type: TypeBackupCompleted, Data: []byte(`{"status":"completed","bytes":{"size":9007199254740993},"new":1}`)})
	if err != nil || data.Bytes.Size != 9007199254740993 {
		t.Errorf("got %+v, %v", data, err)
	}
}

func FuzzDecodeEvent(f *testing.F) {
	f.Add("application/json", "1.0", []byte(`{"machines":["a"]}`))
	f.Add("", "", []byte(`{"specversion":"1.0","id":"1","source":"s","type":"dev.holdfast.backup.requested.v1","data":{"machines":["a"]}}`))
	f.Fuzz(func(t *testing.T, kind, version string, value []byte) {
		headers := map[string]string{"content-type": kind, "ce_id": "i", "ce_source": "s", "ce_type": TypeBackupRequested}
		if version != "" {
			headers["ce_specversion"] = version
		} else {
			headers = map[string]string{"content-type": kind}
		}
		e, err := DecodeEvent(headers, value)
		if err != nil {
			return
		}
		h, v, err := EncodeEvent(e)
		if err != nil {
			t.Fatalf("what was decoded cannot be encoded: %v", err)
		}
		if again, err := DecodeEvent(h, v); err != nil || again.ID != e.ID || !again.Time.Equal(e.Time) || string(again.Data) != string(e.Data) {
			t.Fatalf("%+v came back as %+v, %v", e, again, err)
		}
		_, _ = ReadData[BackupRequested](e)
	})
}
