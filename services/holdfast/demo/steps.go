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
	changed, err := w.change()
	if err != nil {
		return err
	}
	w.did("a day passes: the guests write %s of new files into their file systems", human(uint64(changed)))
	second, err := w.backup(ctx)
	if err != nil {
		return fmt.Errorf("second backup: %w", err)
	}
	if second.Inherited == 0 || second.Stored*2 > full.Stored {
		return fmt.Errorf("second backup: %s stored and %s inherited: it is no incremental", human(second.Stored), human(second.Inherited))
	}
	w.did("incremental backup: %s exported, %s new, %s stored (%.1f %% of the full); the rest is inherited",
		human(second.Read), human(second.Fresh), human(second.Stored), 100*float64(second.Stored)/float64(full.Stored))
	to := filepath.Join(w.data(), "restored", "by-service")
	if _, err := w.Run(ctx, "restore", w.machines[0].name, "--to", to); err != nil {
		return fmt.Errorf("restore through the service: %w", err)
	}
	if err := w.equal(w.machines[0], to); err != nil {
		return err
	}
	w.did("%s restored through the service: equal, byte by byte", w.machines[0].name)
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

// change writes new files into each machine's file system.
func (w *walk) change() (n int64, err error) {
	for _, m := range w.machines {
		files, err := w.spare.take(changeMax/int64(len(w.machines)), "/var/lib/today")
		if err != nil {
			return n, err
		}
		if err := changeDisk(m.disk, files); err != nil {
			return n, err
		}
		for _, f := range files {
			if st, err := os.Stat(f.from); err == nil {
				n += st.Size()
			}
		}
	}
	return n, nil
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
	for _, m := range w.machines {
		to := filepath.Join(w.Data, "restored", m.name)
		if _, err := w.Run(ctx, "vault", "--at", filepath.Join(w.data(), "vault"), "restore", m.name, "--to", to); err != nil {
			return fmt.Errorf("restore from vault and key alone: %w", err)
		}
		if err := w.equal(m, to); err != nil {
			return err
		}
	}
	w.did("all three machines restored from vault and key alone: equal, byte by byte")
	return nil
}

func human(n uint64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.0f KiB", float64(n)/1024)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
