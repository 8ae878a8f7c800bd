package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// live is what runs while the service does: full, changes, incremental, restore.
func (w *walk) live(ctx context.Context) error {
	if err := w.known(ctx); err != nil {
		return err
	}
	full, err := w.backup(ctx)
	if err != nil {
		return fmt.Errorf("full backup: %w", err)
	}
	w.did("full backup: %s of disks, %s read, %s new to the vault, %s stored; what the machines share lies there once",
		human(full.Size), human(full.Read), human(full.Fresh), human(full.Stored))
	if full.Known == 0 {
		return fmt.Errorf("full backup: the machines share files, and none was found twice")
	}
	changed, err := w.day()
	if err != nil {
		return err
	}
	w.did("a day passes: the guests write %s of new files into their file systems", human(uint64(changed)))
	if err := w.incremental(ctx, full); err != nil {
		return err
	}
	if err := w.back(ctx); err != nil {
		return err
	}
	if err := w.ledger(ctx); err != nil {
		return err
	}
	return w.settled(ctx)
}

// known waits until the source was listed.
func (w *walk) known(ctx context.Context) error {
	for range 100 {
		out, err := w.Run(ctx, "machines", "-o", "json")
		if err != nil {
			return fmt.Errorf("machines: %w", err)
		}
		if strings.Count(string(out), `"id"`) >= len(w.machines) {
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("the source is not listed after 20 s")
}

// backup backs all machines up and sums what the events say.
func (w *walk) backup(ctx context.Context) (sum schemas.BackupBytes, err error) {
	out, err := w.Run(ctx, "backup", "--match", "*", "--wait", "-o", "json")
	if err != nil {
		return sum, err
	}
	var end struct {
		Result struct {
			Backups []schemas.BackupCompleted `json:"backups"`
		} `json:"result"`
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, `{"result"`) {
			if err := json.Unmarshal([]byte(line), &end); err != nil {
				return sum, err
			}
		}
	}
	if n := len(end.Result.Backups); n != len(w.machines) {
		return sum, fmt.Errorf("%d machines ended, of %d", n, len(w.machines))
	}
	for _, b := range end.Result.Backups {
		if b.Status != "completed" || len(b.Warnings) > 0 {
			return sum, fmt.Errorf("%s: %s %s %v", b.Machine.Path(), b.Status, b.Reason, b.Warnings)
		}
		sum.Size, sum.Read, sum.Fresh, sum.Known = sum.Size+b.Bytes.Size, sum.Read+b.Bytes.Read, sum.Fresh+b.Bytes.Fresh, sum.Known+b.Bytes.Known
		sum.Zero, sum.Inherited, sum.Stored = sum.Zero+b.Bytes.Zero, sum.Inherited+b.Bytes.Inherited, sum.Stored+b.Bytes.Stored
	}
	return sum, nil
}

// tolerance is how much more than what change tracking named may be read at the
// source: areas are rounded out to the grid of the vault.
const tolerance = 1.1

// incremental backs up what changed, and holds what was read at the vCenter to what
// its change tracking named.
func (w *walk) incremental(ctx context.Context, full schemas.BackupBytes) error {
	before := w.Counters()
	second, err := w.backup(ctx)
	if err != nil {
		return fmt.Errorf("second backup: %w", err)
	}
	if second.Inherited == 0 || second.Stored*2 > full.Stored {
		return fmt.Errorf("second backup: %s stored and %s inherited: it is no incremental", human(second.Stored), human(second.Inherited))
	}
	after := w.Counters()
	named, read := after.Named-before.Named, after.Folder+after.NFC-before.Folder-before.NFC
	if named == 0 || float64(read) > tolerance*float64(named) {
		return fmt.Errorf("second backup: %d bytes read at the vCenter, of %d that its change tracking named", read, named)
	}
	if len(after.Open) > 0 {
		return fmt.Errorf("second backup: snapshots are left at the vCenter: %v", after.Open)
	}
	w.did("incremental backup: change tracking named %s, %s read at the vCenter (%.2f times), %s new, %s stored (%.1f %% of the full); the rest is inherited, and no snapshot is left",
		human(uint64(named)), human(uint64(read)), float64(read)/float64(named), human(second.Fresh), human(second.Stored), 100*float64(second.Stored)/float64(full.Stored))
	return nil
}

// back brings one machine back into the vCenter, under another name.
func (w *walk) back(ctx context.Context) error {
	m := w.machines[0]
	out, err := w.Run(ctx, "restore", m.name, "--to-source", "vcenter", "--name", m.name+"-back", "-o", "json")
	if err != nil {
		return fmt.Errorf("restore into the vCenter: %w", err)
	}
	end, err := restored(out)
	if err != nil {
		return err
	}
	if end.Machine == nil {
		return fmt.Errorf("restore into the vCenter: it is not said which machine came of it: %s", out)
	}
	if err := m.equal(w.Disk(end.Machine.ID, 0), end.Machine.Path()); err != nil {
		return err
	}
	w.did("%s restored into the vCenter as %s-back: its disk is equal, byte by byte", m.name, m.name)
	return nil
}

func restored(out []byte) (end schemas.RestoreCompleted, err error) {
	var line struct{ Result *schemas.RestoreCompleted }
	for text := range strings.Lines(string(out)) {
		if strings.HasPrefix(text, `{"result"`) {
			err = json.Unmarshal([]byte(text), &line)
		}
	}
	if err == nil && line.Result == nil {
		err = fmt.Errorf("restore: no result in %s", out)
	}
	if err != nil {
		return end, err
	}
	return *line.Result, nil
}

// places is what ClickHouse is asked: the distinct places of each outcome. A page
// that is filed again after a crash comes again.
const places = "SELECT outcome, uniqExact(lease, file_no, place) AS places FROM ledger.chunk_log GROUP BY outcome ORDER BY outcome"

// ledger shows what ClickHouse knows.
func (w *walk) ledger(ctx context.Context) error {
	if w.run.Ledger == nil {
		return nil
	}
	var out []byte
	for range 100 { // the recorder is seconds behind, on purpose
		var err error
		if out, err = w.Run(ctx, "ledger", "sql", places); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		if strings.Contains(string(out), "fresh") && strings.Contains(string(out), "known") && strings.Contains(string(out), "inherited") {
			w.did("ClickHouse knows what became of each place: %s", strings.Join(strings.Fields(string(out)), " "))
			return w.loads(ctx)
		}
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("the ledger does not know what became of the chunks: %s", out)
}

// settled waits for the stragglers: every shard of every pack.
func (w *walk) settled(ctx context.Context) error {
	var last error
	for range 100 {
		var out []byte
		if out, last = w.Run(ctx, "verify", "-o", "json"); last == nil {
			var v struct{ Shards, Packs, MapPacks int }
			if err := json.Unmarshal(out, &v); err != nil {
				return err
			}
			w.did("verify finds all %d shards of %d packs and %d map packs", v.Shards, v.Packs, v.MapPacks)
			return nil
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("verify: %w", last)
}

// cold is what runs with the service stopped and a target lost.
func (w *walk) cold(ctx context.Context) error {
	for _, t := range w.run.Vault[:shardsM] {
		if err := os.RemoveAll(t); err != nil {
			return err
		}
	}
	w.did("everything is stopped, and %d of %d targets are wiped", shardsM, len(w.run.Vault))
	if err := w.Close(); err != nil {
		return fmt.Errorf("stop the vCenter: %w", err)
	}
	for _, m := range w.machines {
		to := filepath.Join(w.Data, "restored", m.name)
		if err := w.alone(ctx, m.name, "--to", to); err != nil {
			return err
		}
		if err := m.equalFolder(to); err != nil {
			return err
		}
	}
	w.did("all three machines restored as raw disks from vault and key alone: equal, byte by byte")
	m, to := w.machines[len(w.machines)-1], filepath.Join(w.Data, "restored", "ova")
	if err := w.alone(ctx, m.name, "--to", to, "--as", "ova"); err != nil {
		return err
	}
	packed, err := m.equalOVA(to)
	if err != nil {
		return err
	}
	w.did("%s restored as an OVA from vault and key alone: a VMDK of %s, whose disk is equal, byte by byte", m.name, human(uint64(packed)))
	return nil
}

// alone restores with nothing but the vault and its key.
func (w *walk) alone(ctx context.Context, args ...string) error {
	if _, err := w.Run(ctx, append([]string{"vault", "--at", filepath.Join(w.data(), "vault"), "restore"}, args...)...); err != nil {
		return fmt.Errorf("restore from vault and key alone: %w", err)
	}
	return nil
}

func human(n uint64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.0f KiB", float64(n)/1024)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
