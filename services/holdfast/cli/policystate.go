package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/libs/policy"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// policyState is a policy and how it does, from what the topics tell.
type policyState struct {
	Policy     schemas.PolicyDeclared `json:"policy"`
	DeclaredBy string                 `json:"declaredBy,omitempty"`
	DeclaredAt time.Time              `json:"declaredAt,omitzero"`
	Every      string                 `json:"every"`
	NextDue    time.Time              `json:"nextDue,omitzero"`
	Machines   []policyMachine        `json:"machines"`
	Nobody     []string               `json:"nobody,omitempty"` // named, and none of the machines that are known
	Kept       int                    `json:"kept"`             // of the machines
	Missed     int                    `json:"missed"`
	Last       *policyEnd             `json:"last,omitempty"`

	compiled *policy.Policy
}

// policyMachine is a machine that a policy means.
type policyMachine struct {
	Machine schemas.MachineRef `json:"machine"`
	NextDue time.Time          `json:"nextDue,omitzero"`
	PointAt time.Time          `json:"pointAt,omitzero"`
	Kept    bool               `json:"kept"`
	Begins  []time.Time        `json:"begins,omitempty"` // of a preview
}

// policyEnd is the last result of a policy.
type policyEnd struct {
	Machine schemas.MachineRef `json:"machine"`
	Status  string             `json:"status"`
	Reason  string             `json:"reason,omitempty"`
	DoneAt  time.Time          `json:"doneAt"`
}

// estate is what policies are held against.
type estate struct {
	found []*schemas.MachineFound
	rows  map[string]*schemas.MachineTended // by key
	ends  map[string]*policyEnd             // by policy
	taken map[string]*policyState           // by name
	now   time.Time
}

func (a *app) estate(ctx context.Context, cl *client.Client) (*estate, error) {
	e := &estate{rows: map[string]*schemas.MachineTended{}, ends: map[string]*policyEnd{}, taken: map[string]*policyState{}, now: time.Now().UTC()}
	regions, err := a.everywhere(ctx, "")
	if err != nil {
		return nil, err
	}
	defer regions[0].Close()
	for _, of := range regions {
		if err := e.look(ctx, of); err != nil {
			return nil, err
		}
	}
	for rec, err := range cl.Read(ctx, topics.BackupsCompleted.Spec, 0) {
		if err != nil {
			return nil, err
		}
		e.hear(rec)
	}
	for rec, err := range cl.Read(ctx, topics.PoliciesTaken.Spec, 0) {
		if err != nil {
			return nil, err
		}
		if err := e.take(rec); err != nil {
			return nil, fmt.Errorf("policies.taken/%d@%d: %w", rec.Part, rec.Offset, err)
		}
	}
	return e, nil
}

// look reads one region's machines, and what its scheduler remembers of them.
func (e *estate) look(ctx context.Context, cl *client.Client) error {
	found, err := foundIn(ctx, cl)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(found)) {
		e.found = append(e.found, found[key])
	}
	for rec, err := range cl.Read(ctx, topics.MachinesTended.Spec, 0) {
		if err != nil {
			return err
		}
		if delete(e.rows, string(rec.Key)); rec.Value == nil {
			continue
		}
		row, err := topics.MachinesTended.Decode(rec.Value)
		if err != nil {
			return fmt.Errorf("machines.tended/%d@%d: %w", rec.Part, rec.Offset, err)
		}
		e.rows[string(rec.Key)] = row
	}
	return nil
}

func (e *estate) hear(rec client.Record) {
	ev, err := schemas.DecodeEvent(rec.Headers, rec.Value)
	if err != nil || ev.Type != schemas.TypeBackupCompleted {
		return // another's event in a public topic
	}
	v, err := schemas.ReadData[schemas.BackupCompleted](ev)
	if err != nil || v.Policy == "" {
		return
	}
	if old := e.ends[v.Policy]; old == nil || old.DoneAt.Before(v.DoneAt) {
		e.ends[v.Policy] = &policyEnd{v.Machine, v.Status, v.Reason, v.DoneAt}
	}
}

func (e *estate) take(rec client.Record) error {
	d, ev, err := policy.Taken(rec.Key, rec.Headers, rec.Value)
	if err != nil {
		return err
	}
	if delete(e.taken, d.Name); d.Dropped {
		return nil
	}
	p, err := policy.Compile(d)
	if err != nil {
		return err
	}
	st := e.state(p)
	st.DeclaredBy, st.DeclaredAt = ev.Source, ev.Time
	e.taken[d.Name] = st
	return nil
}

// state holds a policy against the machines that there are.
func (e *estate) state(p *policy.Policy) *policyState {
	st := &policyState{Policy: p.PolicyDeclared, Every: every(p), Machines: []policyMachine{}, Nobody: p.Nobody(e.found), Last: e.ends[p.Name], compiled: p}
	for _, f := range e.found {
		if !p.Selects(f) {
			continue
		}
		row := e.rows[f.GetMachine().GetSource()+"\n"+f.GetMachine().GetId()]
		m := policyMachine{Machine: schemas.MachineRefOf(f.GetMachine()), PointAt: schemas.MilliTime(row.GetPointMs())}
		for _, due := range row.GetPolicies() {
			if due.GetPolicy() == p.Name {
				m.NextDue = schemas.MilliTime(due.GetDueMs())
			}
		}
		if m.Kept = p.Kept(m.PointAt, e.now); m.Kept {
			st.Kept++
		} else {
			st.Missed++
		}
		if !m.NextDue.IsZero() && (st.NextDue.IsZero() || m.NextDue.Before(st.NextDue)) {
			st.NextDue = m.NextDue
		}
		st.Machines = append(st.Machines, m)
	}
	slices.SortFunc(st.Machines, func(a, b policyMachine) int { return cmp.Compare(a.Machine.Path(), b.Machine.Path()) })
	return st
}

// every says when a policy is due.
func every(p *policy.Policy) string {
	if rpo := p.RPO(); rpo > 0 {
		return "RPO " + strings.TrimSuffix(strings.TrimSuffix(rpo.String(), "0s"), "0m")
	}
	var lines []string
	for _, c := range p.Calendar {
		lines = append(lines, strings.TrimSpace(c.Cron+" "+cmp.Or(c.Zone, p.Zone, "UTC")))
	}
	return strings.Join(lines, ", ")
}

// runs are the next times that a policy comes to a machine, with spread and blackouts.
func (e *estate) runs(p *policy.Policy, m policyMachine, n int) (begins []time.Time) {
	source, id := m.Machine.Source, m.Machine.ID
	due := p.Next(e.now)
	if rpo := p.RPO(); rpo > 0 {
		if due = e.now; !m.PointAt.IsZero() {
			due = m.PointAt.Add(rpo)
		}
	}
	for from := e.now; len(begins) < n && !due.IsZero(); {
		at := p.Begin(due, from, source, id)
		if p.RPO() == 0 {
			due, _ = p.Last(due, at)
			due = p.Next(due)
		} else {
			due = at.Add(p.RPO())
		}
		begins, from = append(begins, at.UTC()), at
	}
	return begins
}
