// Package policy understands policies: whom they mean, when their backups are due,
// and how those are made. All of it is arithmetic over what was declared and a
// moment that the caller names: who schedules and who previews come to the same.
package policy

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/holdfast-backup/holdfast/libs/match"
	"github.com/holdfast-backup/holdfast/schemas"
)

// What a policy may hold.
const (
	Max          = 1000           // policies of a house: each is matched against each machine that changes
	nameMax      = 128            // bytes
	machinesMax  = 10_000         // named: a region holds no more
	selectorsMax = 256            // × 10,000 machines is a second of matching
	timesMax     = 16             // lines of a calendar
	blackoutsMax = 32             // × 10 days to look at, each time that something is begun
	disksMax     = 64             // excluded
	spreadMax    = 24 * 60        // minutes
	minutesMax   = 366 * 24 * 60  // of an RPO and all others: beyond a year it is a typing error
	keepMax      = 100_000        // points, or days
	spreadIfNone = 5              // minutes: a thousand machines at three a second
	leadMax      = 15             // minutes that an RPO's backup is begun early: the window that is promised
	zoneIfNone   = "UTC"          // and never that of the machine we run on: two would differ
	never        = math.MaxUint32 // no limit
)

// Policy is one that was declared, understood. It remembers what it computed, so it
// is not for several goroutines at once.
type Policy struct {
	schemas.PolicyDeclared
	who, not  who
	calendar  []clock
	blackouts []blackout
	memo      struct{ at, next time.Time } // of Next
}

// Compile understands a policy that is not dropped. An error says by its path what is
// wrong with it.
func Compile(d schemas.PolicyDeclared) (*Policy, error) {
	p := &Policy{PolicyDeclared: d}
	for _, check := range []func() error{p.named, p.means, p.timed, p.held, p.bounded} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Name says what is wrong with a name, which is a key, a label and part of ids.
func Name(name string) error {
	switch {
	case name == "":
		return errors.New("data.name: is empty")
	case len(name) > nameMax:
		return fmt.Errorf("data.name: is of %d bytes, at most %d", len(name), nameMax)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }):
		return fmt.Errorf("data.name: %q holds a character that is not to be printed", name)
	}
	return nil
}

func (p *Policy) named() error { return Name(p.PolicyDeclared.Name) }

func (p *Policy) means() (err error) {
	if len(p.Machines)+len(p.Selectors) == 0 {
		return errors.New(`data: names no machine and has no selector; for all machines say "selectors":[{"name":"*"}]`)
	}
	if p.who, err = newWho("data.", p.Machines, p.Selectors); err != nil {
		return err
	}
	p.not, err = newWho("data.exclude.", p.Exclude.Machines, p.Exclude.Selectors)
	return err
}

// bounded holds numbers against the limits above.
func (p *Policy) bounded() error {
	for _, l := range []struct {
		what      string
		have, max uint32
	}{{"rpoMinutes", p.RPOMinutes, minutesMax}, {"notAfterMinutes", p.NotAfterMinutes, minutesMax}, {"windowMinutes", p.WindowMinutes, minutesMax},
		{"spreadMinutes", p.spread(), spreadMax}, {"keep.last", p.Keep.Last, keepMax}, {"keep.hourly", p.Keep.Hourly, keepMax},
		{"keep.daily", p.Keep.Daily, keepMax}, {"keep.weekly", p.Keep.Weekly, keepMax}, {"keep.monthly", p.Keep.Monthly, keepMax},
		{"keep.yearly", p.Keep.Yearly, keepMax}, {"keep.days", p.Keep.Days, keepMax}} {
		if l.have > l.max {
			return fmt.Errorf("data.%s: %d are too many, at most %d", l.what, l.have, l.max)
		}
	}
	if n := len(p.ExcludedDisks); n > disksMax {
		return fmt.Errorf("data.excludedDisks: %d are too many, at most %d", n, disksMax)
	}
	for i, disk := range p.ExcludedDisks {
		if _, err := match.Glob(disk); err != nil {
			return fmt.Errorf("data.excludedDisks[%d]: %w", i, err)
		}
	}
	if p.RPOMinutes > 0 && p.NotAfterMinutes > 0 {
		return errors.New("data.notAfterMinutes: is for a calendar: what is due by rpoMinutes stays due until it is done")
	}
	return nil
}

// Options are those of an order that is due, and expires at end; zero: it does not.
func (p *Policy) Options(end time.Time) *schemas.Options {
	o := &schemas.Options{Priority: p.Priority, ExcludedDisks: p.ExcludedDisks, WindowMs: int64(p.WindowMinutes) * time.Minute.Milliseconds()}
	if p.Mode == "full" {
		o.Mode = schemas.Options_MODE_FULL
	}
	switch p.Quiesce {
	case "require":
		o.Quiesce = schemas.Options_QUIESCE_REQUIRE
	case "off":
		o.Quiesce = schemas.Options_QUIESCE_OFF
	}
	if !end.IsZero() {
		o.NotAfterMs = end.UnixMilli()
	}
	return o
}

// When is a digest of its times: with the same, a due stays what it is.
func (p *Policy) When() []byte {
	b, err := json.Marshal([]any{p.Calendar, p.RPOMinutes, p.Zone})
	if err != nil {
		panic(err) // strings and a number
	}
	sum := sha256.Sum256(b)
	return sum[:8]
}
