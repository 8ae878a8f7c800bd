package scheduler

import (
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// rule is a policy of the fleet.
type rule struct {
	name   string
	daily  time.Duration // each day at this time of it; 0 with rpo
	rpo    time.Duration // how old a point may grow: due at half of it
	dark   [2]int        // hours of a blackout
	atOnce uint32
}

func rulesOf() []*rule {
	return []*rule{
		{name: "nightly", rpo: 24 * time.Hour},
		{name: "hourly", rpo: time.Hour},
		{name: "four-hours", rpo: 4 * time.Hour, dark: [2]int{9, 11}},
		{name: "bounded", rpo: 24 * time.Hour, daily: 3 * time.Hour, atOnce: 3},
	}
}

// ruleOf gives 1 in 40 machines an RPO of an hour, 2 of four hours, and most the night.
func ruleOf(n int) int {
	switch n / fleetSites % 40 {
	case 0:
		return 1
	case 1, 2:
		return 2
	case 3:
		return 3
	}
	return 0
}

// declared is the policy as the scheduler knows it: the model makes its orders, which
// must be of a policy that wants their machine; its own calendar comes in a leap year.
func (p *rule) declared() schemas.PolicyDeclared {
	zero := uint32(0)
	return schemas.PolicyDeclared{Name: p.name, Selectors: []schemas.Selector{{Tag: p.name}}, SpreadMinutes: &zero,
		Calendar: []schemas.PolicyTime{{Cron: "0 0 29 2 *"}}, Limits: schemas.PolicyLimits{AtOnce: p.atOnce}}
}

func (p *rule) calendar() bool { return p.rpo == 24*time.Hour }

// want is a due of a policy at a machine, until it is done.
type want struct {
	due     time.Time
	promise time.Time // when it is broken
	backup  string    // empty: not ordered yet
	causes  map[string]int
}

func (w *want) String() string {
	if w == nil {
		return "asked for"
	}
	return fmt.Sprintf("due for %v, samples %v", w.promise.Sub(w.due), w.causes)
}

// ask is a backup that was asked for.
type ask struct {
	at    time.Time
	class string // policy, or how it was asked
	begun bool
}

// dueAt makes the next due of a machine.
func (f *fleet) dueAt(g *guest, at time.Time) {
	if !at.Before(f.end()) {
		return
	}
	f.after(at.Sub(f.now), func() {
		p := g.plan
		if p.calendar() {
			f.dueAt(g, f.now.Truncate(24*time.Hour).Add(24*time.Hour+p.daily))
		}
		if g.wants != nil { // it waits still: the newest of several is done
			f.tally.skipped++
			return
		}
		grace := p.rpo
		if !p.calendar() {
			grace = p.rpo / 2
		}
		g.wants = &want{due: f.now, promise: f.now.Add(grace), causes: map[string]int{}}
		begin := f.now
		if h := f.now.Hour(); h >= p.dark[0] && h < p.dark[1] {
			begin = f.now.Truncate(24 * time.Hour).Add(time.Duration(p.dark[1]) * time.Hour)
		}
		f.after(begin.Sub(f.now), func() {
			job := schemas.JobID("/policy/"+p.name, fmt.Sprint(g.wants.due.UnixMilli()))
			q := f.order(g, job, p.name)
			q.Policy, q.DueMs, q.RpoMs = p.name, g.wants.due.UnixMilli(), grace.Milliseconds()
			g.wants.backup = string(q.Backup)
			f.tell(q)
		})
	})
}

// order asks for one backup.
func (f *fleet) order(g *guest, job schemas.UUID, class string) *schemas.BackupQueued {
	m := g.machine()
	q := &schemas.BackupQueued{Job: &schemas.Job{Id: job.Bytes()}, Backup: schemas.BackupID(job, m.Source, m.Id).Bytes(), Machine: m,
		Tenant: g.tenant, Options: &schemas.Options{}, SinceMs: f.now.UnixMilli()}
	f.asked[string(q.Backup)] = &ask{at: f.now, class: class}
	return q
}

// burst asks for many machines at once, as a person does; now and then it is
// cancelled, and now and then sent twice.
func (f *fleet) burst() {
	f.tally.bursts++
	job := schemas.JobID("/person", fmt.Sprint(f.tally.bursts))
	priority := int32(f.rand.IntN(4) - 1)
	var sent []*schemas.BackupQueued
	for _, n := range f.rand.Perm(len(f.guests))[:len(f.guests)/20] {
		q := f.order(f.guests[n], job, "on demand")
		q.Options.Priority, q.Options.NotAfterMs = priority, f.now.Add(48*time.Hour).UnixMilli()
		sent = append(sent, q)
	}
	for again := range 1 + f.rand.IntN(2) {
		for _, q := range sent {
			f.after(time.Duration(again)*time.Minute, func() { f.tell(q) })
		}
	}
	if f.rand.IntN(4) == 0 {
		f.after(10*time.Minute, func() { f.tell(&schemas.BackupQueued{Job: &schemas.Job{Id: job.Bytes()}, Cancel: true}) })
	}
}

// weather is what befalls the fleet: a vCenter that is slow for a day, targets that
// are down for three hours of a night, machines that move, and death.
func (f *fleet) weather() {
	day := 24 * time.Hour
	f.after(day, func() { f.sites[1].slow = 3 })
	f.after(2*day, func() { f.sites[1].slow = 1 })
	vault := func(up bool) func() {
		return func() {
			f.targets = &schemas.TargetTurned{Target: "t1", SinceMs: f.now.UnixMilli(), Up: up, Quorum: up}
			if f.s != nil {
				f.s.targetTurned(f.targets)
			}
		}
	}
	f.after(2*day+30*time.Minute, vault(false))
	f.after(2*day+210*time.Minute, vault(true))
	f.each(12*time.Hour+17*time.Minute, f.burst)
	f.each(time.Hour, func() {
		for range len(f.guests) / 500 {
			g := f.guests[f.rand.IntN(len(f.guests))]
			other := f.guests[f.rand.IntN(len(f.guests))]
			if f.s == nil || g.site != other.site {
				continue
			}
			g.found = &schemas.MachineFound{Machine: g.found.Machine, Tags: g.found.Tags, Host: other.found.Host, Datastores: other.found.Datastores}
			f.s.machineFound(g.key, g.found)
		}
	})
	f.each(3*time.Hour+7*time.Minute, func() {
		f.after(time.Duration(f.rand.IntN(10_000))*time.Second, func() { f.doomed = true })
	})
}
