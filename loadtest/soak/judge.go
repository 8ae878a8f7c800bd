package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob/file"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
	"github.com/holdfast-backup/holdfast/topics"
)

// judge looks at what is left of it all: what the log tells, what the ledger says,
// and, with the house ended, what vault and key alone give back.
func (w *world) judge(ctx context.Context, l *life) error {
	began := time.Now()
	w.tally.grown()
	ends, err := w.log(l)
	if err != nil {
		return err
	}
	counts, err := w.ledger(ctx, l, ends)
	if err != nil {
		return err
	}
	if l, err = w.swept(ctx, l); err != nil {
		return err
	}
	if err := w.ends(l); err != nil {
		return err
	}
	w.say("the house has ended; %d points are restored from vault and key alone", len(ends))
	if err := w.vault(ctx, ends, counts); err != nil {
		return err
	}
	w.tally.VerifiedS = time.Since(began).Seconds()
	return nil
}

// log reads what the topic of ends holds now, and compares it with what was asked
// and with what was heard. It returns the completed, by backup.
func (w *world) log(l *life) (completed map[schemas.UUID]schemas.BackupCompleted, err error) {
	completed = map[schemas.UUID]schemas.BackupCompleted{}
	first, status := map[schemas.UUID][]byte{}, map[schemas.UUID]string{}
	for rec, err := range l.cl.Read(l.ctx, topics.BackupsCompleted.Spec, 0) {
		if err != nil {
			return nil, err
		}
		e, err := schemas.DecodeEvent(rec.Headers, rec.Value)
		if err != nil {
			return nil, err
		}
		c, err := schemas.ReadData[schemas.BackupCompleted](e)
		if err != nil {
			return nil, err
		}
		if before, again := first[c.Backup]; again && !bytes.Equal(before, e.Data) {
			w.tally.fault(twice, "backup %s: %s and %s", c.Backup, before, e.Data)
			continue
		}
		first[c.Backup], status[c.Backup] = e.Data, c.Status
		if c.Status == "completed" {
			completed[c.Backup] = c
		}
	}
	w.book.mu.Lock()
	defer w.book.mu.Unlock()
	for id, all := range w.book.told {
		for s := range all {
			if status[id] != s {
				w.tally.fault(untold, "backup %s was %s, and the log says %q", id, s, status[id])
			}
		}
	}
	for _, j := range w.book.jobs {
		for _, m := range j.machines {
			end := j.backup(m)
			s, ok := status[end]
			if !ok {
				end = j.id // which was refused as a whole
				s, ok = status[end]
			}
			w.tally.Backups[s]++
			switch {
			case !ok:
				w.tally.fault(stuck, "backup %s of %s, job %s", j.backup(m), m.name, j.id)
			case s == "failed" && spent(first[end]):
				w.tally.Spent++
			case s == "failed" || s == "refused" || s == "cancelled" && !j.cancelled:
				w.tally.fault(failed, "backup %s of %s: %s: %s", j.backup(m), m.name, s, first[end])
			}
		}
	}
	for id := range w.book.asked {
		if w.book.jobs[id] == nil {
			w.tally.fault(stuck, "job %s lies in the log, and nobody waited for it", id)
		}
	}
	return completed, nil
}

// attemptsMost is how many attempts a backup has. Under kills each of them may be cut:
// by one while a snapshot is made, which nobody can take up, or by a vCenter that is
// started anew under a stream.
const attemptsMost = 5

// spent says whether a backup failed because all its attempts were cut. That it then
// says so is right; that it failed before would not be.
func spent(event []byte) bool {
	var c schemas.BackupCompleted
	return json.Unmarshal(event, &c) == nil && c.Attempt >= attemptsMost
}

// vault restores every point there is, with nothing but targets and passphrase.
func (w *world) vault(ctx context.Context, completed map[schemas.UUID]schemas.BackupCompleted, counts *places) error {
	r, err := w.reader(ctx)
	if err != nil {
		return err
	}
	paths, err := r.Points(ctx)
	if err != nil {
		return err
	}
	named := map[string]schemas.BackupCompleted{}
	for _, c := range completed {
		named[c.Point] = c
	}
	for _, path := range paths {
		c, ok := named[path]
		if !ok {
			w.tally.fault(nameless, "%s", path)
			continue
		}
		delete(named, path)
		w.point(ctx, r, path, c, counts)
	}
	for path, c := range named {
		w.tally.fault(lost, "backup %s of %s: no point %s", c.Backup, c.Machine.Path(), path)
	}
	if counts != nil {
		counts.compare(w.tally)
	}
	return w.byCommand(ctx, len(paths), completed)
}

// point restores one point and compares it with the versions that it may have.
func (w *world) point(ctx context.Context, r *vault.Reader, path string, c schemas.BackupCompleted, counts *places) {
	p, err := r.Point(ctx, path)
	if err != nil {
		w.tally.fault(lost, "backup %s of %s: %v", c.Backup, c.Machine.Path(), err)
		return
	}
	if counts != nil {
		counts.point(p)
	}
	w.tally.Points++
	var disks [][]byte
	files := slices.SortedFunc(slices.Values(p.Files), func(a, b *schemas.PointFile) int { return cmp.Compare(a.Name, b.Name) })
	for _, f := range files { // which lie there by key
		b := memory(make([]byte, f.SizeBytes))
		if err := r.Restore(ctx, p, f, b, vault.RestoreOptions{}); err != nil {
			w.tally.fault(lost, "backup %s of %s: %v", c.Backup, c.Machine.Path(), err)
			return
		}
		if f.Kind == schemas.FileExported_KIND_DISK {
			disks = append(disks, b)
		}
	}
	b, ok := w.bound(c)
	if !ok {
		w.tally.fault(different, "backup %s of %s is of no job of ours", c.Backup, c.Machine.Path())
		return
	}
	if err := b.m.guest.check(disks, b.lo, b.hi); err != nil {
		w.tally.fault(different, "backup %s of %s: %v", c.Backup, c.Machine.Path(), err)
	}
}

// memory takes a restored file.
type memory []byte

func (m memory) WriteAt(b []byte, at int64) (int, error) { return copy(m[at:], b), nil }
func (m memory) ReadAt(b []byte, at int64) (int, error)  { return copy(b, m[at:]), nil }

// reader opens the vault as whoever has only targets and passphrase does.
func (w *world) reader(ctx context.Context) (*vault.Reader, error) {
	dirs, err := filepath.Glob(filepath.Join(w.process.data, "vault", "*"))
	if err != nil {
		return nil, err
	}
	var targets []vault.Target
	for _, dir := range dirs {
		s, err := file.Open(dir)
		if err != nil {
			return nil, err
		}
		targets = append(targets, vault.Target{Name: dir, Store: s})
	}
	v, err := vault.Open(ctx, targets)
	if err != nil {
		return nil, err
	}
	pass, err := house.Passphrase(filepath.Join(w.process.data, "keys", "passphrase"))
	if err != nil {
		return nil, err
	}
	ring, err := house.OpenKeys(ctx, v, pass)
	if err != nil {
		return nil, err
	}
	return v.Reader(ring)
}

// byCommand asks the command line the same: it lists what we found, restores the
// newest point of each machine, and finds every byte sound.
func (w *world) byCommand(ctx context.Context, points int, completed map[schemas.UUID]schemas.BackupCompleted) error {
	at := filepath.Join(w.process.data, "vault")
	out, err := w.process.holdfast(ctx, "vault", "--at", at, "list", "-o", "json")
	if err != nil {
		return err
	}
	var list struct{ Points []json.RawMessage }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return err
	}
	if len(list.Points) != points {
		w.tally.fault(lost, "holdfast vault list shows %d points of %d", len(list.Points), points)
	}
	backed := map[*machine]bool{}
	for _, c := range completed {
		backed[w.named(c.Machine)] = true
	}
	for _, m := range slices.Concat(w.images, w.guests) {
		if !backed[m] {
			continue
		}
		dir := filepath.Join(w.work, "back", m.name)
		if _, err := w.process.holdfast(ctx, "vault", "--at", at, "restore", m.source+"/"+m.id, "--to", dir); err != nil {
			w.tally.fault(lost, "%s by command: %v", m.name, err)
			continue
		}
		disks, err := disksBelow(dir, m.guest)
		if err == nil {
			err = m.guest.check(disks, 0, m.newest())
		}
		if err != nil {
			w.tally.fault(different, "%s restored by command: %v", m.name, err)
		}
	}
	if out, err := w.process.holdfast(ctx, "vault", "--at", at, "verify", "--deep"); err != nil {
		w.tally.fault(damaged, "%v %s", err, firstLine(out))
	}
	return nil
}
