package policy

import (
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/schemas"
)

func event(data string) []byte {
	return []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"` + schemas.TypePolicyDeclared + `","data":` + data + `}`)
}

func TestRecords(t *testing.T) {
	const good = `{"name":"gold","machines":["a"],"rpoMinutes":60}`
	for _, c := range []struct {
		key   string
		value []byte
		want  string // of the error; empty: it is taken
	}{
		{"gold", event(good), ""},
		{"gold", event(`{"name":"gold","dropped":true}`), ""},
		{"gold", nil, ""},
		{"", nil, "data.name: is empty"},
		{"", event(good), `the record's key is "", and data.name "gold"`},
		{"silver", event(good), `the record's key is "silver", and data.name "gold"`},
		{"gold", event(`{"name":"gold","dropped":true,"rpoMinutes":60}`), "drops the policy, and says what it is"},
		{"gold", event(`{"name":"gold","machines":["a"],"rpo":60}`), `data.rpo: is no field`},
		{"gold", event(`{"name":"gold","machines":["a"]}`), "says not when"},
		{"gold", []byte("hello"), "is no event"},
		{"gold", []byte(strings.Replace(string(event(good)), "policy.declared", "backup.requested", 1)), `is none of`},
		{"gold", []byte(strings.Replace(string(event(good)), "declared.v1", "declared.v2", 1)), `is version 2, this house reads v1`},
	} {
		d, _, err := Read([]byte(c.key), nil, c.value)
		if c.want == "" && (err != nil || d.Name != "gold") || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %s: got %v, want … %s …", c.key, c.value, err, c.want)
		}
	}
	// What a newer house took is read, as far as it is known.
	d, e, err := Taken([]byte("gold"), nil, event(`{"name":"gold","machines":["a"],"rpoMinutes":60,"colour":"red"}`))
	if err != nil || d.RPOMinutes != 60 || e.Source != "/s" {
		t.Errorf("got %v, %v", d, err)
	}
	if d, _, err := Taken([]byte("gold"), nil, nil); err != nil || !d.Dropped || d.Name != "gold" {
		t.Errorf("got %v, %v", d, err)
	}
}
