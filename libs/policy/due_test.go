package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-backup/holdfast/schemas"
)

// of compiles a policy that means everything.
func of(t interface{ Fatal(...any) }, change func(*schemas.PolicyDeclared)) *Policy {
	d := schemas.PolicyDeclared{Name: "gold", Selectors: []schemas.Selector{{Name: "*"}}}
	change(&d)
	p, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func at(t testing.TB, s string) time.Time {
	t.Helper()
	when, err := time.Parse("2006-01-02 15:04", s)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// Each line is what operators expect of their calendars where clocks are set, months
// end and years leap. Times are UTC.
func TestCalendars(t *testing.T) {
	for _, c := range []struct{ why, zone, cron, from, want string }{
		{"each night", "Europe/Berlin", "30 2 * * *", "2026-02-01 00:00", "02-01 01:30, 02-02 01:30"},
		{"clocks leap from 2 to 3: the night is not left out", "Europe/Berlin", "30 2 * * *", "2026-03-27 12:00", "03-28 01:30, 03-29 01:00, 03-30 00:30"},
		{"several times that are leapt over are one", "Europe/Berlin", "*/15 2 * * *", "2026-03-28 12:00", "03-29 01:00, 03-30 00:00, 03-30 00:15"},
		{"clocks show 2:30 twice: the first", "Europe/Berlin", "30 2 * * *", "2026-10-24 12:00", "10-25 00:30, 10-26 01:30"},
		{"from between the two", "Europe/Berlin", "30 2 * * *", "2026-10-25 00:45", "10-26 01:30"},
		{"every hour goes on when clocks go back", "Europe/Berlin", "30 * * * *", "2026-10-24 23:00", "10-24 23:30, 10-25 00:30, 10-25 01:30, 10-25 02:30"},
		{"and when they leap", "Europe/Berlin", "30 * * * *", "2026-03-29 00:00", "03-29 00:30, 03-29 01:30, 03-29 02:30"},
		{"an hour that is there twice", "America/New_York", "0 1 * * *", "2026-10-31 12:00", "11-01 05:00, 11-02 06:00"},
		{"half an hour", "Australia/Lord_Howe", "15 2 * * *", "2026-10-03 00:00", "10-03 15:30, 10-04 15:15"},
		{"midnight is leapt over", "Africa/Cairo", "0 0 * * *", "2026-04-22 12:00", "04-22 22:00, 04-23 22:00, 04-24 21:00"},
		{"a day that was left out", "Pacific/Apia", "0 12 * * *", "2011-12-29 00:00", "12-29 22:00, 12-30 10:00, 12-30 22:00"},
		{"the 31st", "UTC", "0 1 31 * *", "2026-01-01 00:00", "01-31 01:00, 03-31 01:00, 05-31 01:00"},
		{"a leap day", "UTC", "0 1 29 2 *", "2026-01-01 00:00", "02-29 01:00, 02-29 01:00"},
		{"the end of a year", "Asia/Tokyo", "0 3 1 1 *", "2026-12-01 00:00", "12-31 18:00, 12-31 18:00"},
		{"days of the week", "UTC", "0 4 * * mon-fri", "2026-11-27 05:00", "11-30 04:00, 12-01 04:00"},
		{"a word", "Europe/Berlin", "@daily", "2026-03-29 12:00", "03-29 22:00, 03-30 22:00"},
	} {
		p := of(t, func(d *schemas.PolicyDeclared) {
			d.Zone, d.Calendar = c.zone, []schemas.PolicyTime{{Cron: c.cron}}
		})
		var got []string
		for next := at(t, c.from); len(got) <= strings.Count(c.want, ","); {
			next = p.Next(next)
			got = append(got, next.UTC().Format("01-02 15:04"))
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s: %s in %s from %s: got %s, want %s", c.why, c.cron, c.zone, c.from, s, c.want)
		}
	}
}

func TestSeveralTimes(t *testing.T) {
	p := of(t, func(d *schemas.PolicyDeclared) {
		d.Zone = "Europe/Berlin"
		d.Calendar = []schemas.PolicyTime{{Cron: "0 2 * * *"}, {Cron: "0 13 * * *", Zone: "UTC"}}
	})
	from := at(t, "2026-11-26 02:00")
	first, second := p.Next(from), p.Next(p.Next(from))
	if !first.Equal(at(t, "2026-11-26 13:00")) || !second.Equal(at(t, "2026-11-27 01:00")) {
		t.Errorf("got %s, %s", first, second)
	}
	if d := p.Promise(first); d != 12*time.Hour {
		t.Errorf("from %s to the next: %s", first, d)
	}
	if last, missed := p.Last(first, at(t, "2026-11-28 13:30")); missed != 4 || !last.Equal(at(t, "2026-11-28 13:00")) {
		t.Errorf("after two days off: %s, %d passed over", last, missed)
	}
	if end := p.Expires(first); !end.Equal(second) {
		t.Errorf("expires %s", end)
	}
	p.NotAfterMinutes = 30
	if end := p.Expires(first); end.Sub(first) != 30*time.Minute {
		t.Errorf("expires %s", end)
	}
	p.NotAfterMinutes = 13 * 60
	if end := p.Expires(first); !end.Equal(second) {
		t.Errorf("two would be due at once: expires %s", end)
	}
}

func TestWhatIsKept(t *testing.T) {
	weekly := of(t, func(d *schemas.PolicyDeclared) { d.Calendar = []schemas.PolicyTime{{Cron: "0 2 * * sun"}} })
	hours := of(t, func(d *schemas.PolicyDeclared) { d.RPOMinutes = 60 })
	for _, c := range []struct {
		p          *Policy
		point, now string
		want       bool
	}{
		{weekly, "2026-11-22 02:04", "2026-11-28 12:00", true},
		{weekly, "2026-11-22 02:04", "2026-11-29 02:19", true}, // 5 minutes of spread, and 15 to do it
		{weekly, "2026-11-22 02:04", "2026-11-29 02:20", false},
		{weekly, "2026-11-22 01:59", "2026-11-29 02:01", false},
		{hours, "2026-11-22 02:00", "2026-11-22 03:00", true},
		{hours, "2026-11-22 02:00", "2026-11-22 03:01", false},
	} {
		if got := c.p.Kept(at(t, c.point), at(t, c.now)); got != c.want {
			t.Errorf("a point of %s at %s: %v", c.point, c.now, got)
		}
	}
	if weekly.Kept(time.Time{}, at(t, "2026-11-22 02:00")) {
		t.Error("no point is kept")
	}
	yearly := of(t, func(d *schemas.PolicyDeclared) { d.Calendar = []schemas.PolicyTime{{Cron: "0 1 29 2 *"}} })
	if p := yearly.Previous(at(t, "2027-01-01 00:00")); !p.Equal(at(t, "2024-02-29 01:00")) {
		t.Errorf("before: %s", p)
	}
}

func TestBlackouts(t *testing.T) {
	working := []string{"mon", "tue", "wed", "thu", "fri"}
	p := of(t, func(d *schemas.PolicyDeclared) {
		d.RPOMinutes, d.Zone = 60, "Europe/Berlin"
		d.Blackout = []schemas.PolicyBlackout{{Days: working, From: "08:00", To: "18:00"}, {Days: []string{"fri"}, From: "22:00", To: "06:00"},
			{Days: []string{"fri"}, From: "18:00", To: "20:00", Zone: "UTC"}, {Days: []string{"sun"}, From: "00:00", To: "24:00"},
			{Days: []string{"sat"}, From: "06:00", To: "07:00"}}
	})
	for now, want := range map[string]string{
		"2026-11-26 06:59": "",
		"2026-11-26 07:00": "11-26 17:00", // Thursday
		"2026-11-26 16:59": "11-26 17:00",
		"2026-11-26 17:00": "",
		"2026-11-27 16:00": "11-27 17:00", // Friday: free from 18 to 19 in Berlin
		"2026-11-27 18:30": "11-27 20:00",
		"2026-11-27 23:00": "11-28 06:00", // over midnight, and one on another
		"2026-11-28 04:59": "11-28 06:00",
		"2026-11-28 06:00": "",
		"2026-11-29 12:00": "11-29 23:00", // Sunday
		"2026-03-29 00:00": "03-29 22:00", // which has 23 hours
		"2026-10-25 22:30": "10-25 23:00", // and 25
	} {
		end := p.Held(at(t, now))
		if got := end.Format("01-02 15:04"); end.IsZero() != (want == "") || want != "" && got != want {
			t.Errorf("at %s held until %s, want %q", now, got, want)
		}
	}
}

// Machines that are due together begin one after another; those that were held up,
// by a blackout or because nobody was there, too.
func TestSpread(t *testing.T) {
	p := of(t, func(d *schemas.PolicyDeclared) {
		d.Calendar = []schemas.PolicyTime{{Cron: "0 2 * * *"}}
		d.Blackout = []schemas.PolicyBlackout{{From: "05:00", To: "06:00"}}
	})
	due := at(t, "2026-11-26 02:00")
	for name, from := range map[string]time.Time{"in time": due.Add(-time.Hour), "after two hours off": due.Add(2*time.Hour + 7*time.Second), "in a blackout": due.Add(200 * time.Minute)} {
		floor := due
		if from.After(due) {
			floor = from
		}
		if name == "in a blackout" {
			floor = at(t, "2026-11-26 06:00")
		}
		var half int
		for i := range 1000 {
			b := p.Begin(due, from, "a", fmt.Sprint(i))
			if b.Before(floor) || b.Sub(floor) > 5*time.Minute || !p.Begin(due, b, "a", fmt.Sprint(i)).Equal(b) {
				t.Fatalf("%s: machine %d begins at %s", name, i, b)
			}
			if b.Sub(floor) < 150*time.Second {
				half++
			}
		}
		if half < 400 || half > 600 {
			t.Errorf("%s: %d of 1000 begin in the first half", name, half)
		}
	}
	zero := uint32(0)
	p.SpreadMinutes = &zero
	if b := p.Begin(due, due, "a", "1"); !b.Equal(due) {
		t.Errorf("not spread: %s", b)
	}
}

func TestRPO(t *testing.T) {
	p := of(t, func(d *schemas.PolicyDeclared) { d.RPOMinutes = 240 })
	due := at(t, "2026-11-26 04:00")
	if b := p.Begin(due, due.Add(-3*time.Hour), "a", "1"); due.Sub(b) != 15*time.Minute {
		t.Errorf("begins %s", b)
	}
	if b := p.Begin(due, due.Add(time.Hour), "a", "1"); b.Before(due.Add(time.Hour)) || b.After(due.Add(65*time.Minute)) {
		t.Errorf("late: begins %s", b)
	}
	short := of(t, func(d *schemas.PolicyDeclared) { d.RPOMinutes = 1 })
	if b := short.Begin(due, due, "a", "1"); b.Sub(due) > 30*time.Second {
		t.Errorf("the spread of a minute is half of it: %s", b)
	}
	if !p.Next(due).IsZero() || !p.Expires(due).IsZero() || p.Promise(due) != 4*time.Hour {
		t.Error("an RPO has no calendar, and does not expire")
	}
}

// Whatever a calendar says, its times come one after another, none of them is left
// out between two, and none begins in a blackout.
func TestDuesAreInOrder(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia", "America/Santiago"}
	rapid.Check(t, func(t *rapid.T) {
		line := fmt.Sprintf("%d %s * * %s", rapid.IntRange(0, 59).Draw(t, "minute"),
			rapid.SampledFrom([]string{"*", "0", "1", "2", "3", "*/2", "23", "0-3"}).Draw(t, "hour"), rapid.SampledFrom([]string{"*", "sun", "mon-fri"}).Draw(t, "days"))
		p := of(t, func(d *schemas.PolicyDeclared) {
			d.Zone, d.Calendar = rapid.SampledFrom(zones).Draw(t, "zone"), []schemas.PolicyTime{{Cron: line}}
			d.Blackout = []schemas.PolicyBlackout{{From: fmt.Sprintf("%02d:00", rapid.IntRange(0, 23).Draw(t, "from")), To: fmt.Sprintf("%02d:30", rapid.IntRange(0, 23).Draw(t, "to"))}}
		})
		from := time.Unix(rapid.Int64Range(1_200_000_000, 2_000_000_000).Draw(t, "at"), 0)
		next := p.Next(from)
		if !next.After(from) {
			t.Fatalf("%s after %s is %s", line, from, next)
		}
		between := from.Add(time.Duration(rapid.Float64Range(0, 1).Draw(t, "between") * float64(next.Sub(from)-1)))
		if again := p.Next(between); !again.Equal(next) {
			t.Fatalf("%s: after %s comes %s, after %s %s", line, from, next, between, again)
		}
		if b := p.Begin(next, from, "a", "m"); b.Before(next) || !p.Held(b).IsZero() {
			t.Fatalf("%s is begun at %s, held until %s", next, b, p.Held(b))
		}
	})
}
