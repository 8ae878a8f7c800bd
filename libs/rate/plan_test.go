package rate

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{"20MiB/s": "20MiB/s", " 1 GiB/s ": "1GiB/s", "1024KiB/s": "1MiB/s", "100Mbit/s": "100Mbit/s",
		"none": "none", "0": "none", "0MiB/s": "none", "64KiB/s": "64KiB/s", "99999999TiB/s": "1024TiB/s"} {
		if r, err := Parse(in); err != nil || r.String() != want {
			t.Errorf("%q is %v, %v", in, r, err)
		}
	}
	for in, want := range map[string]string{"20MB/s": "is not a rate", "20MiB": "is not a rate", "": "is not a rate", "-1MiB/s": "is not a rate", "1.5MiB/s": "is not a rate",
		"1KiB/s": "below the least", "100kbit/s": "below the least", "9999999999999MiB/s": "is not a rate"} {
		if r, err := Parse(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %v, %v", in, r, err)
		}
	}
}

func TestWindowsThatSayNothing(t *testing.T) {
	for _, c := range []struct {
		times     Times
		key, want string
	}{
		{Times{"monday", "08:00", "18:00", "UTC"}, "days", `"monday" is no day`},
		{Times{"mon-", "08:00", "18:00", "UTC"}, "days", `"mon-" is no day`},
		{Times{"mon", "8:00", "18:00", "UTC"}, "from", `"8:00" is no time of day`},
		{Times{"mon", "24:00", "18:00", "UTC"}, "from", `"24:00" ends a day`},
		{Times{"mon", "08:00", "24:01", "UTC"}, "to", `"24:01" is no time of day`},
		{Times{"mon", "08:00", "", "UTC"}, "to", `"" is no time of day`},
		{Times{"mon", "08:00", "08:00", "UTC"}, "to", `a whole day is from 00:00 to 24:00`},
		{Times{"mon", "08:00", "18:00", ""}, "zone", "is missing"},
		{Times{"mon", "08:00", "18:00", "Local"}, "zone", "another one on each machine"},
		{Times{"mon", "08:00", "18:00", "Europe/Nowhere"}, "zone", "is no time zone"},
	} {
		_, err := NewWindow(c.times, 0)
		if w, ok := errors.AsType[*Wrong](err); !ok || w.Key != c.key || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.times, err)
		}
	}
}

// What holds when, over midnights, a week's end and the nights in which clocks are set.
func TestWhatHolds(t *testing.T) {
	work := Plan{Rate: 200 << 20, Windows: []Window{
		window(t, "wed", "12:00", "13:00", "Europe/Berlin", 0),
		window(t, "mon-fri", "08:00", "18:00", "Europe/Berlin", 20<<20),
		window(t, "fri-mon", "22:00", "06:00", "Europe/Berlin", 1<<30),
		window(t, "sun", "02:30", "03:30", "Europe/Berlin", 1<<20),
	}}
	for _, c := range []struct {
		at   string
		want Rate
	}{
		{"2026-11-26T06:59:59Z", 200 << 20}, // Thursday
		{"2026-11-26T07:00:00Z", 20 << 20},
		{"2026-11-26T16:59:59Z", 20 << 20},
		{"2026-11-26T17:00:00Z", 200 << 20},
		{"2026-11-25T11:30:00Z", 0}, // of two the first
		{"2026-11-25T12:00:00Z", 20 << 20},
		{"2026-11-26T22:00:00Z", 200 << 20}, // Thursday's night is none of them
		{"2026-11-27T21:00:00Z", 1 << 30},
		{"2026-11-28T04:59:00Z", 1 << 30}, // Friday's night
		{"2026-12-01T04:59:00Z", 1 << 30}, // Monday's
		{"2026-12-01T05:00:00Z", 200 << 20},
		{"2026-07-01T06:00:00Z", 20 << 20}, // summer
		{"2026-03-29T00:59:00Z", 1 << 30},  // 01:59, and the next minute is 03:00
		{"2026-03-29T01:00:00Z", 1 << 30},  // Saturday's night goes on, which stands first
		{"2026-10-25T01:59:00Z", 1 << 30},
		{"2026-10-25T05:00:00Z", 200 << 20}, // 06:00, the day had an hour more
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got, until := work.At(at); got != c.want || !until.After(at) {
			t.Errorf("at %s: %v until %v, want %v", c.at, got, until, c.want)
		}
	}
	gap := Plan{Windows: []Window{window(t, "sun", "02:30", "03:30", "Europe/Berlin", 1<<20)}}
	open := 0
	for at := time.Date(2026, 3, 28, 22, 0, 0, 0, time.UTC); at.Before(time.Date(2026, 3, 29, 10, 0, 0, 0, time.UTC)); at = at.Add(time.Minute) {
		if r, _ := gap.At(at); r != 0 {
			open++
		}
	}
	if open != 30 { // 02:30 to 02:59 are not there
		t.Errorf("open for %d minutes of the night in which an hour is missing", open)
	}
	at := time.Date(2026, 11, 26, 8, 30, 0, 0, time.UTC)
	if got := work.Describe(at); got != "at most 20MiB/s (mon-fri 08:00-18:00 Europe/Berlin), from Thu 18:00 CET on 200MiB/s" {
		t.Error(got)
	}
	if got := (Plan{Rate: 1 << 20}).Describe(at); got != "at most 1MiB/s" {
		t.Error(got)
	}
	if got := gap.Describe(at); got != "no limit, from Sun 02:30 CET on 1MiB/s" {
		t.Error(got)
	}
}

// Whatever is written is refused or means something: what is read back is the same,
// and what At says holds until it says.
func FuzzPlan(f *testing.F) {
	f.Add("200MiB/s", "mon-fri", "08:00", "18:00", "Europe/Berlin", "20MiB/s", int64(1790000000))
	f.Add("100Mbit/s", "fri-mon,wed", "22:00", "06:00", "America/St_Johns", "none", int64(1774746000))
	f.Add("none", "", "00:00", "24:00", "Australia/Lord_Howe", "64KiB/s", int64(1775314800))
	f.Add("0", "sat-sat", "23:59", "00:00", "UTC", "1TiB/s", int64(0))
	f.Fuzz(func(t *testing.T, all, days, from, to, zone, in string, sec int64) {
		r, err := Parse(all)
		if err != nil {
			return
		}
		if again, err := Parse(r.String()); err != nil || again != r || r < 0 || r > most || r > 0 && r < Least {
			t.Fatalf("%q is %v, and that %v, %v", all, r, again, err)
		}
		other, err := Parse(in)
		if err != nil {
			return
		}
		w, err := NewWindow(Times{days, from, to, zone}, other)
		if err != nil {
			if _, ok := errors.AsType[*Wrong](err); !ok {
				t.Fatalf("%v names no key", err)
			}
			return
		}
		p := Plan{Rate: r, Windows: []Window{w}}
		at := time.Unix(1577836800+(sec%2e9+2e9)%2e9, sec&0x1fffffff) // from 2020 on: before, zones had odd seconds
		got, until := p.At(at)
		if !until.After(at) || until.Sub(at) > time.Minute || got != r && got != other {
			t.Fatalf("%v at %v until %v", got, at, until)
		}
		if then, _ := p.At(until.Add(-1)); then != got {
			t.Fatalf("%v at %v, and %v before %v", got, at, then, until)
		}
		if text := p.Describe(at); text == "" || (got == 0) != strings.HasPrefix(text, "no limit") {
			t.Fatalf("%v is described as %q", got, text)
		}
	})
}
