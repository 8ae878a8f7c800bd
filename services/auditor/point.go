package auditor

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// exported takes a record of files.exported.
func (a *attempt) exported(e *schemas.FileExported) *fault {
	if e.Finished == nil {
		return a.file(e.File).exported(e)
	}
	a.finished = e.Finished
	return a.of(e.Finished.SnapshotId)
}

// complete is the line that completes a backup: every file the exporter counted is
// known, every page it exported is filed under this lease, all of one snapshot
// (which of checks), and nothing is left but to write the point.
func (a *attempt) complete() (bool, *fault) {
	if a.broken != nil {
		return false, a.broken
	}
	if a.finished == nil || a.leased == nil {
		return false, nil
	}
	if f := a.checkBase(); f != nil {
		return false, f
	}
	whole := uint32(0)
	for _, f := range a.files {
		if f.whole() {
			whole++
		} else if f.facts == nil && len(f.filed.spans) > 0 || f.facts != nil {
			return false, nil
		}
	}
	if whole > a.finished.Files {
		return false, faultf(codeShape, "%d files, of which the exporter counted %d", whole, a.finished.Files)
	}
	if whole < a.finished.Files {
		return false, nil
	}
	for _, f := range a.files {
		if f.facts == nil {
			continue
		}
		if held, err := f.held(); err != nil || !held {
			return false, err
		}
	}
	return true, nil
}

// checkBase holds the base that the exporter read against to the one that its lease
// names. It may have read against none, where nothing is known of what that held:
// then no file may stand on it.
func (a *attempt) checkBase() *fault {
	leased, read := a.leased.GetBase().GetLease(), a.finished.BaseLease
	if len(read) > 0 && !bytes.Equal(read, leased) {
		return faultf(codeBase, "the exporter read against the base of lease %s, the lease names %s", schemas.IDText(read), schemas.IDText(leased))
	}
	for _, f := range a.files {
		if len(read) == 0 && f.facts != nil && f.facts.HasBase {
			return faultf(codeBase, "file %d stands on a base, and the exporter says that it read against none", f.no)
		}
	}
	return nil
}

// inherits reports whether the point needs its base.
func (a *attempt) inherits() bool {
	for _, f := range a.files {
		for _, runs := range f.parts {
			if slices.ContainsFunc(runs, func(r pageRun) bool { return r.what == schemas.PageRun_WHAT_INHERITED }) {
				return true
			}
		}
	}
	return false
}

// inherent checks every run that is inherited as a whole, and sums up pages that
// have no object.
func (a *attempt) inherent(b *base) (*schemas.Totals, *fault) {
	t := &schemas.Totals{}
	for _, f := range a.named() {
		s := shape{f.facts.SizeBytes, f.facts.GridBytes}
		t.Bytes += s.size
		runs, err := f.runs()
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			switch r.what {
			case schemas.PageRun_WHAT_ZERO:
				t.ZeroBytes += s.bytes(r.first, r.count)
			case schemas.PageRun_WHAT_INHERITED:
				if b == nil || !f.facts.HasBase {
					return nil, faultf(codeBase, "file %d inherits pages from %d on, and has no base", f.no, r.first)
				}
				bf, err := b.lender(f.facts.BaseFile, s)
				if err != nil {
					return nil, err
				}
				if have, want := bf.shape.bytes(r.first, r.count), s.bytes(r.first, r.count); have != want {
					return nil, faultf(codeBase, "file %d: %d pages from %d on have %d bytes in point %s, wanted are %d",
						f.no, r.count, r.first, have, b.path, want)
				}
				t.InheritedBytes += s.bytes(r.first, r.count)
			}
		}
	}
	return t, nil
}

// named are the files of the point, by number.
func (a *attempt) named() []*file {
	var out []*file
	for _, no := range slices.Sorted(maps.Keys(a.files)) {
		if f := a.files[no]; f.facts != nil {
			out = append(out, f)
		}
	}
	return out
}

// point makes the recovery point of a complete attempt. Pages that are inherited as
// a whole are resolved to where they lie, so that no point refers to another.
func (a *attempt) point(b *base, v *schemas.Verdict) (*vault.Point, *fault) {
	l := a.leased
	p := &vault.Point{Run: a.run(), Machine: l.Machine, Job: l.Job, Tenant: l.Tenant, BaseLease: a.finished.BaseLease, SnapshotId: a.snapshot, SnapshotMs: a.finished.SnapshotMs, Consistency: a.finished.Consistency,
		FullReason: a.finished.FullReason, Warnings: a.warnings(), Totals: v.Totals, QueuedMs: v.QueuedMs, LeasedMs: v.LeasedMs, DoneMs: v.DoneMs}
	if len(p.BaseLease) > 0 {
		p.BasePath = l.GetBase().GetPath()
	}
	to := vault.NewPointBuilder(p)
	for _, f := range a.named() {
		runs, err := f.runs()
		if err != nil {
			return nil, err
		}
		pf := &schemas.PointFile{No: f.no, Key: f.facts.Key, Name: f.facts.Name, Kind: f.facts.Kind,
			SizeBytes: f.facts.SizeBytes, GridBytes: f.facts.GridBytes, ChangeId: f.facts.ChangeId, Via: f.facts.Via}
		if err := to.File(pf, a.resolve(f, runs, b)); err != nil {
			return nil, faultf(codeShape, "%v", err)
		}
	}
	return p, nil
}

// resolve says of each page of a file where it lies.
func (a *attempt) resolve(f *file, runs []pageRun, b *base) iter.Seq[vault.PageRun] {
	return func(yield func(vault.PageRun) bool) {
		for _, r := range runs {
			var part iter.Seq[vault.PageRun]
			switch r.what {
			case schemas.PageRun_WHAT_ZERO:
				part = func(yield func(vault.PageRun) bool) { yield(vault.PageRun{First: r.first, Count: r.count}) }
			case schemas.PageRun_WHAT_INHERITED:
				part = b.files[f.facts.BaseFile].runs(r.first, r.count)
			default:
				part = a.where(f, r)
			}
			for run := range part {
				if !yield(run) {
					return
				}
			}
		}
	}
}

// warnings are the exporter's, and one for each disk whose change tracking lied.
func (a *attempt) warnings() []string {
	all := slices.Clone(a.finished.Warnings)
	for _, f := range a.named() {
		if f.lied > 0 {
			all = append(all, fmt.Sprintf("change tracking of disk %q of machine %q lied: %d places of %d bytes differ from the last point, which it claims unchanged; "+
				"this point was read whole and is right, earlier ones since the last full read may not be", f.facts.Name, a.leased.GetMachine().GetName(), f.lied, f.facts.GridBytes))
		}
	}
	return all
}

func (a *attempt) where(f *file, r pageRun) iter.Seq[vault.PageRun] {
	return func(yield func(vault.PageRun) bool) {
		for s := range f.filed.within(r.first, r.count) {
			out := vault.PageRun{First: s.first, Count: s.count, Slot: s.slot}
			if s.pack != 0 {
				out.Map = a.packs[s.pack-1]
			}
			if !yield(out) {
				return
			}
		}
	}
}

// verdict is what completed says, but for when it is done. inherent are the sums of
// pages that have no object.
func (a *attempt) verdict(inherent *schemas.Totals, path string, least uint32) *schemas.Verdict {
	t := &schemas.Totals{Files: a.finished.Files, Disks: a.finished.Disks}
	addTotals(t, inherent)
	addTotals(t, &a.totals)
	if sum := t.FreshBytes + t.KnownBytes + t.ZeroBytes + t.InheritedBytes; sum > t.Bytes { // pages that a rival filed too
		t.KnownBytes -= min(t.KnownBytes, sum-t.Bytes)
	}
	l := a.leased
	v := &schemas.Verdict{Run: a.run(), Job: l.Job, Tenant: l.Tenant, Machine: l.Machine, Status: schemas.Status_STATUS_COMPLETED, Policy: l.Policy, WindowMs: l.GetOptions().GetWindowMs(),
		Point:    &schemas.Point{Path: path, Lease: a.run().Lease, Epoch: a.run().Epoch},
		Warnings: a.warnings(), Consistency: a.finished.Consistency, FullReason: a.finished.FullReason, Totals: t,
		Redundancy: least, QueuedMs: l.SinceMs, LeasedMs: l.LeasedMs, SnapshotMs: a.finished.SnapshotMs}
	if a.redundancy != 0 {
		v.Redundancy = a.redundancy
	}
	for _, f := range a.named() {
		v.Point.Files = append(v.Point.Files, &schemas.BaseFile{Key: f.facts.Key, No: f.no, SizeBytes: f.facts.SizeBytes,
			GridBytes: f.facts.GridBytes, ChangeId: f.facts.ChangeId})
	}
	return v
}
