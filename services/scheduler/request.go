package scheduler

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/libs/match"
	"github.com/holdfast-backup/holdfast/schemas"
)

// What a request may hold. Options ride in each of a job's orders, and a row of
// machines.tended holds 17 of those: 17 × 16 KiB + two points of 64 KiB < 1 MiB.
const (
	machinesMax  = 10_000         // of one job, in all regions: one region holds no more
	selectorsMax = 256            // × 10,000 machines is a second of matching
	disksMax     = 64             // excluded, × 256 B = 16 KiB
	nameMax      = 1024           // bytes of source/id
	regionMax    = 63             // bytes, as in the configuration
	reasonMax    = 1024           // bytes of a refusal: it may quote what came in
	notAfterIn   = 24 * time.Hour // an order nobody was there to take is old news the next day
)

// request is one event of backups.requested, understood.
type request struct {
	job       schemas.UUID
	cancel    schemas.UUID // of another job; zero: this is an order
	region    string       // only of this one; empty: of all
	machines  []string
	selectors []match.Selector
	options   *schemas.Options
	since     time.Time // when the record came into the log
}

// readRequest understands an event that came at a time. An error is false input;
// the request then says at least which job is refused, as far as that is known.
func readRequest(e schemas.Event, at time.Time) (*request, error) {
	r := &request{job: schemas.JobID(e.Source, e.ID), since: at}
	if err := schemas.KnownType(e.Type, schemas.TypeBackupRequested, schemas.TypeBackupCancel); err != nil {
		return r, err
	}
	if e.Type == schemas.TypeBackupCancel {
		data, err := schemas.ReadData[schemas.BackupCancel](e)
		if err == nil && data.Job.IsZero() {
			err = errors.New("data.job: is zero: say the id of the job to cancel")
		}
		r.cancel = data.Job
		return r, err
	}
	data, err := schemas.ReadData[schemas.BackupRequested](e)
	if err != nil {
		return r, err
	}
	if err := bounded(data); err != nil {
		return r, err
	}
	r.region, r.machines = data.Region, data.Machines
	for i, s := range data.Selectors {
		sel, err := match.Compile(s)
		if err != nil {
			return r, fmt.Errorf("data.selectors[%d]: %w", i, err)
		}
		r.selectors = append(r.selectors, sel)
	}
	r.options = options(data, e.Time, at)
	return r, nil
}

// bounded holds a request against the limits above.
func bounded(d schemas.BackupRequested) error {
	for _, l := range []struct {
		what      string
		have, max int
	}{{"machines", len(d.Machines), machinesMax}, {"selectors", len(d.Selectors), selectorsMax}, {"excludedDisks", len(d.ExcludedDisks), disksMax}} {
		if l.have > l.max {
			return fmt.Errorf("data.%s: %d are too many, at most %d", l.what, l.have, l.max)
		}
	}
	if len(d.Machines)+len(d.Selectors) == 0 {
		return errors.New("data: names no machine and has no selector")
	}
	if len(d.Region) > regionMax {
		return fmt.Errorf("data.region: is a name of %d bytes, at most %d", len(d.Region), regionMax)
	}
	for i, name := range d.Machines {
		switch {
		case name == "":
			return fmt.Errorf("data.machines[%d]: is empty", i)
		case len(name) > nameMax:
			return fmt.Errorf("data.machines[%d]: is a name of %d bytes, at most %d", i, len(name), nameMax)
		}
	}
	for i, name := range d.ExcludedDisks {
		if len(name) > match.Max {
			return fmt.Errorf("data.excludedDisks[%d]: is a pattern of %d bytes, at most %d", i, len(name), match.Max)
		}
	}
	return nil
}

// short bounds what a refusal says.
func short(reason string) string {
	reason = strings.ToValidUTF8(reason, "\uFFFD") // it may quote what a stranger sent, and goes into a message
	if len(reason) <= reasonMax {
		return reason
	}
	return strings.ToValidUTF8(reason[:reasonMax], "") + " …"
}

func options(d schemas.BackupRequested, sent, at time.Time) *schemas.Options {
	o := &schemas.Options{Priority: d.Priority, ExcludedDisks: d.ExcludedDisks}
	if d.Mode == "full" {
		o.Mode = schemas.Options_MODE_FULL
	}
	switch d.Quiesce {
	case "require":
		o.Quiesce = schemas.Options_QUIESCE_REQUIRE
	case "off":
		o.Quiesce = schemas.Options_QUIESCE_OFF
	}
	notAfter := d.NotAfter
	if notAfter.IsZero() {
		begin := at
		if !sent.IsZero() && sent.Before(at) { // a sender whose clock runs ahead gains nothing
			begin = sent
		}
		notAfter = begin.Add(notAfterIn)
	}
	o.NotAfterMs = notAfter.UnixMilli()
	return o
}
