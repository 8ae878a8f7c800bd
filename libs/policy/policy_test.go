package policy

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/schemas"
)

// The example that we publish is a policy; each change of it that makes no sense is
// refused, with where, what and why.
func TestFalsePolicies(t *testing.T) {
	for change, want := range map[string]string{
		`{}`:                             "",
		`{"name":""}`:                    "data.name: is empty",
		`{"name":"a\nb"}`:                "data.name: \"a\\nb\" holds a character that is not to be printed",
		`{"name":"` + long(129) + `"}`:   "data.name: is of 129 bytes, at most 128",
		`{"machines":[],"selectors":[]}`: `data: names no machine and has no selector`,
		`{"machines":["a",""]}`:          "data.machines[1]: is empty",
		`{"selectors":[{}]}`:             "data.selectors[0]: is empty",
		`{"selectors":[{"tag":"["}]}`:    "data.selectors[0]: tag: pattern",
		`{"exclude":{"selectors":[{}]}}`: "data.exclude.selectors[0]: is empty",
		`{"calendar":[]}`:                "data: says not when: want calendar or rpoMinutes",
		`{"rpoMinutes":5}`:               "data: has both calendar and rpoMinutes",
		`{"calendar":[],"rpoMinutes":5}`: "data.notAfterMinutes: is for a calendar",
		`{"calendar":[],"notAfterMinutes":0,"rpoMinutes":9999999}`:                   "data.rpoMinutes: 9999999 are too many, at most 527040",
		`{"calendar":[{"cron":"0 2 * *"}]}`:                                          "data.calendar[0].cron: \"0 2 * *\": expected exactly 5 fields, found 4",
		`{"calendar":[{"cron":"0 2 * * *"},{"cron":"0 25 * * *"}]}`:                  "data.calendar[1].cron: \"0 25 * * *\": end of range (25) above maximum (23)",
		`{"calendar":[{"cron":"0 2 30 2 *"}]}`:                                       `data.calendar[0].cron: "0 2 30 2 *" never comes`,
		`{"calendar":[{"cron":"@every 1h"}]}`:                                        "for a distance say rpoMinutes",
		`{"calendar":[{"cron":"TZ=UTC 0 2 * * *"}]}`:                                 "say the zone beside it",
		`{"calendar":[{"cron":"TZ=0"}]}`:                                             "say the zone beside it",
		`{"calendar":[{"cron":"0 2 * * *","zone":"Europe/Berlln"}]}`:                 `data.calendar[0].zone: "Europe/Berlln" is none: want an IANA name`,
		`{"zone":"Local"}`:                                                           `data.zone: "Local" is none`,
		`{"blackout":[{"from":"8","to":"9:00"}]}`:                                    `data.blackout[0].from: "8" is no time of day`,
		`{"blackout":[{"from":"08:00","to":"24:30"}]}`:                               `data.blackout[0].to: "24:30" is no time of day`,
		`{"blackout":[{"from":"24:00","to":"08:00"}]}`:                               `data.blackout[0].from: "24:00" is no time of day`,
		`{"blackout":[{"from":"08:00","to":"08:00"}]}`:                               "data.blackout: leaves no moment",
		`{"blackout":[{"from":"08:00","to":"20:00"},{"from":"19:00","to":"08:00"}]}`: "data.blackout: leaves no moment",
		`{"blackout":[{"from":"08:00","to":"20:00"},{"from":"20:01","to":"08:00"}]}`: "",
		`{"spreadMinutes":1441}`:                                                     "data.spreadMinutes: 1441 are too many, at most 1440",
		`{"spreadMinutes":0}`:                                                        "",
		`{"keep":{"last":100001}}`:                                                   "data.keep.last: 100001 are too many",
		`{"excludedDisks":["["]}`:                                                    "data.excludedDisks[0]: pattern",
	} {
		if _, err := Compile(changed(t, change)); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want … %s …", change, err, want)
		}
	}
	d := changed(t, `{}`)
	for i := range 1001 {
		d.Machines = append(d.Machines, fmt.Sprint(i))
		d.Calendar = append(d.Calendar, d.Calendar[0])
	}
	if _, err := Compile(d); err == nil || !strings.Contains(err.Error(), "data.calendar: 1003 are too many, at most 16") {
		t.Errorf("got %v", err)
	}
}

func long(n int) string { return strings.Repeat("x", n) }

// changed is the published example with fields of other values.
func changed(t *testing.T, change string) (d schemas.PolicyDeclared) {
	t.Helper()
	b, err := os.ReadFile("../../schemas/events/" + schemas.TypePolicyDeclared + ".example.json")
	if err != nil {
		t.Fatal(err)
	}
	e, err := schemas.DecodeEvent(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]json.RawMessage{}
	for _, raw := range []string{string(e.Data), change} {
		if err := json.Unmarshal([]byte(raw), &fields); err != nil {
			t.Fatal(err)
		}
	}
	if e.Data, err = json.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	if d, err = schemas.ReadData[schemas.PolicyDeclared](e); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWhoIsMeant(t *testing.T) {
	p := of(t, func(d *schemas.PolicyDeclared) {
		d.RPOMinutes = 60
		d.Machines, d.Selectors = []string{"vc-a/vm-1", "web-01", "gone", "gone"}, []schemas.Selector{{Tag: "tier/gold"}}
		d.Exclude = schemas.PolicyExclude{Machines: []string{"vm-9"}, Selectors: []schemas.Selector{{Name: "*-tmp"}}}
	})
	var all []*schemas.MachineFound
	for _, c := range []struct {
		source, id, name, tag string
		want                  bool
	}{
		{"vc-a", "vm-1", "db", "", true},
		{"vc-b", "vm-1", "db", "", false},
		{"vc-a", "vm-2", "web-01", "", true},
		{"vc-b", "vm-2", "web-01", "", true}, // every machine of that name
		{"vc-a", "vm-3", "x", "tier/gold", true},
		{"vc-a", "vm-4", "x-tmp", "tier/gold", false},
		{"vc-a", "vm-9", "x", "tier/gold", false},
		{"vc-a", "vm-5", "x", "tier/silver", false},
	} {
		m := &schemas.MachineFound{Machine: &schemas.Machine{Source: c.source, Id: c.id, Name: c.name}, Tags: []string{c.tag}}
		all = append(all, m)
		if got := p.Selects(m); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if names := fmt.Sprint(p.Nobody(all)); names != "[gone]" {
		t.Errorf("nobody is called %s", names)
	}
}

// Another time is another promise; another way to keep it is not.
func TestWhenIsADigest(t *testing.T) {
	was := of(t, func(d *schemas.PolicyDeclared) { *d = changed(t, `{}`) })
	for change, same := range map[string]bool{`{}`: true, `{"priority":3}`: true, `{"calendar":[{"cron":"1 2 * * *"}]}`: false, `{"zone":"UTC"}`: false} {
		is := of(t, func(d *schemas.PolicyDeclared) { *d = changed(t, change) })
		if (string(is.When()) == string(was.When())) != same {
			t.Errorf("%s: same is not %v", change, same)
		}
	}
	o := was.Options(at(t, "2026-11-26 02:00"))
	if o.Quiesce != schemas.Options_QUIESCE_REQUIRE || o.Priority != 10 || o.WindowMs != 1_800_000 || o.NotAfterMs == 0 || len(o.ExcludedDisks) != 1 {
		t.Errorf("options %v", o)
	}
}

// A calendar is text that people wrote: none may hang or end the process.
func FuzzCompile(f *testing.F) {
	f.Add("0 2 * * *", "Europe/Berlin", "08:00", "18:00")
	f.Add("@daily", "", "00:00", "24:00")
	f.Add("TZ=0", "Local", "24:00", "x")
	f.Fuzz(func(t *testing.T, cron, zone, from, to string) {
		p, err := Compile(schemas.PolicyDeclared{Name: "a", Machines: []string{"m"}, Calendar: []schemas.PolicyTime{{Cron: cron}}, Zone: zone,
			Blackout: []schemas.PolicyBlackout{{From: from, To: to}}})
		if err != nil {
			return
		}
		due := p.Next(at(t, "2026-03-28 12:00"))
		p.Begin(due, due, "a", "m")
	})
}
