package ledger

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Stand is how a backup stands.
type Stand struct {
	Machine              Machine
	State                string
	Attempt              uint16
	WaitingFor, Reason   string
	QueuedAt, LeasedAt   time.Time // 1970: not yet
	DoneAt, HeardAt      time.Time
	FiledBytes           uint64   // of the attempt under way
	SizeBytes, ReadBytes uint64   // once it is done
	Stages               []string // that worked on it in the last 10 minutes
}

// WhereIs says how a backup stands; ok is false if the ledger never heard of it.
func (l *Ledger) WhereIs(ctx context.Context, backup schemas.UUID) (s Stand, ok bool, err error) {
	err = l.each(ctx, "where", []string{backup.String()},
		"source, machine, machine_name, toString(state), attempt, waiting_for, reason, queued_at, leased_at, done_at, heard_at, filed_bytes, size_bytes, read_bytes, stages",
		func(scan func(...any) error) error {
			ok = true
			return scan(&s.Machine.Source, &s.Machine.ID, &s.Machine.Name, &s.State, &s.Attempt, &s.WaitingFor, &s.Reason,
				&s.QueuedAt, &s.LeasedAt, &s.DoneAt, &s.HeardAt, &s.FiledBytes, &s.SizeBytes, &s.ReadBytes, &s.Stages)
		})
	return s, ok, err
}

// Completed are the backups that the ledger knows to be completed.
func (l *Ledger) Completed(ctx context.Context) (map[schemas.UUID]bool, error) {
	rows, err := l.conn.Query(ctx, "SELECT DISTINCT toString(backup) FROM ledger.backup_state WHERE state = 'completed'")
	if err != nil {
		return nil, fmt.Errorf("ask ledger for completed backups: %w", err)
	}
	defer rows.Close()
	all := map[schemas.UUID]bool{}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("ask ledger for completed backups: %w", err)
		}
		id, err := schemas.ParseUUID(text)
		if err != nil {
			return nil, fmt.Errorf("ask ledger for completed backups: %w", err)
		}
		all[id] = true
	}
	return all, rows.Err()
}

// Lack is a machine without a good backup.
type Lack struct {
	Machine               Machine
	LastGood              time.Time // 1970: never
	LastState, LastReason string    // empty: never asked for
}

// NoGoodBackup names the machines whose last good snapshot is older than that.
func (l *Ledger) NoGoodBackup(ctx context.Context, hours int) (all []Lack, err error) {
	err = l.each(ctx, "no-good-backup", []string{strconv.Itoa(hours)}, "source, machine, machine_name, last_good, last_state, last_reason",
		func(scan func(...any) error) error {
			var k Lack
			err := scan(&k.Machine.Source, &k.Machine.ID, &k.Machine.Name, &k.LastGood, &k.LastState, &k.LastReason)
			all = append(all, k)
			return err
		})
	return all, err
}

// Load is what a stage did. Times are means over its records.
type Load struct {
	Region, Stage          string
	Records, Errors, Bytes uint64
	WaitMs, BusyMs         float64
	WaitShare              float64   // of what data waits on its way through the region
	BusyQuantilesMs        []float64 // p50, p95, p99
	BusySeconds            float64   // in all, of all its workers
	MBPerSecond            float64   // plain data per second of that; 0: it says no times, or speaks of no data
}

// Bottleneck says what each stage did in the last minutes; in each region that
// which records wait for the longest is first.
func (l *Ledger) Bottleneck(ctx context.Context, minutes int) (all []Load, err error) {
	err = l.each(ctx, "bottleneck", []string{strconv.Itoa(minutes)}, "region, stage, records, errors, bytes, wait_ms, busy_ms, wait_share, busy_ms_p50_p95_p99, busy_s, mb_per_s",
		func(scan func(...any) error) error {
			var d Load
			err := scan(&d.Region, &d.Stage, &d.Records, &d.Errors, &d.Bytes, &d.WaitMs, &d.BusyMs, &d.WaitShare, &d.BusyQuantilesMs, &d.BusySeconds, &d.MBPerSecond)
			all = append(all, d)
			return err
		})
	return all, err
}

// User of a chunk: one file of one backup.
type User struct {
	Machine Machine
	Backup  schemas.UUID
	File    string
}

// ChunkUsers names files that a chunk was cut from, limit at most, as long as
// places are kept. Backups that inherited it are not among them.
func (l *Ledger) ChunkUsers(ctx context.Context, chunk [32]byte, limit int) (all []User, err error) {
	err = l.each(ctx, "chunk-users", []string{hex.EncodeToString(chunk[:]), strconv.Itoa(limit)}, "source, machine, machine_name, toString(backup), file",
		func(scan func(...any) error) error {
			var u User
			var backup string
			err := scan(&u.Machine.Source, &u.Machine.ID, &u.Machine.Name, &backup, &u.File)
			if err == nil {
				u.Backup, err = schemas.ParseUUID(backup)
			}
			all = append(all, u)
			return err
		})
	return all, err
}

// FileOutcome sums up one file of one attempt, in places.
type FileOutcome struct {
	Attempt                             uint16
	FileNo                              uint32
	File                                string
	Fresh, Known, Zero, Inherited       uint64
	FreshBytes, KnownBytes, StoredBytes uint64
}

// Outcomes says what became of each file of a backup, by attempt.
func (l *Ledger) Outcomes(ctx context.Context, backup schemas.UUID) (all []FileOutcome, err error) {
	err = l.each(ctx, "outcomes", []string{backup.String()},
		"attempt, file_no, file, fresh_places, known_places, zero_places, inherited_places, fresh_bytes, known_bytes, stored_bytes",
		func(scan func(...any) error) error {
			var o FileOutcome
			err := scan(&o.Attempt, &o.FileNo, &o.File, &o.Fresh, &o.Known, &o.Zero, &o.Inherited, &o.FreshBytes, &o.KnownBytes, &o.StoredBytes)
			all = append(all, o)
			return err
		})
	return all, err
}

// each calls f with the scanner of each row that answers the question.
func (l *Ledger) each(ctx context.Context, name string, args []string, columns string, f func(scan func(...any) error) error) error {
	sql, err := question(name).SQL(args...)
	if err != nil {
		return err
	}
	rows, err := l.conn.Query(ctx, "SELECT "+columns+sql[len("SELECT *"):])
	if err != nil {
		return fmt.Errorf("ask ledger %s: %w", name, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return fmt.Errorf("ask ledger %s: %w", name, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("ask ledger %s: %w", name, err)
	}
	return nil
}
