package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	tables "github.com/holdfast-backup/holdfast/schemas/ledger"
)

// boot is what must be there before the first migration can be recorded.
var boot = []string{
	"CREATE DATABASE IF NOT EXISTS ledger",
	`CREATE TABLE IF NOT EXISTS ledger.migrations (
		name String, sha256 String, at DateTime('UTC') DEFAULT now()
	) ENGINE = ReplacingMergeTree(at) ORDER BY name`,
}

// ErrChanged means that a migration which this ledger has had is now another
// text: someone edited a file that was shipped.
var ErrChanged = errors.New("a recorded migration has changed")

// ErrNewer means that this ledger has a migration which shuts out programs that do
// not know it. The others add, and shut nobody out.
var ErrNewer = errors.New("the ledger is of a newer program: update this one; until then Kafka keeps what is to be written")

// needs, before a migration's name, is how a migration says so: it inserts that row
// into ledger.migrations itself.
const needs = "needs "

// Migrate brings the tables up to what this program knows, and their lifetimes
// to what is configured. It may be called at any time, again, and by several
// processes at once: each statement does nothing the second time. Tables of a
// newer program are left as they are, since columns are only added; see ErrNewer.
func (l *Ledger) Migrate(ctx context.Context) error {
	files, err := fs.Glob(tables.Files, "*.sql")
	if err != nil {
		return err
	}
	for _, q := range boot {
		if err := l.conn.Exec(ctx, q); err != nil {
			return fmt.Errorf("prepare ledger: %w", err)
		}
	}
	had, err := l.migrations(ctx)
	if err != nil {
		return err
	}
	if err := known(files, had); err != nil {
		return err
	}
	for _, name := range files {
		if err := l.apply(ctx, name, had[name]); err != nil {
			return fmt.Errorf("ledger migration %s: %w", name, err)
		}
	}
	return l.setKeep(ctx)
}

// stillKnown is Migrate where nothing was to do a while ago.
func (l *Ledger) stillKnown(ctx context.Context) error {
	files, err := fs.Glob(tables.Files, "*.sql")
	if err != nil {
		return err
	}
	had, err := l.migrations(ctx)
	if err != nil {
		return err
	}
	return known(files, had)
}

// known wants every migration that had says is needed to be one of files.
func known(files []string, had map[string]string) error {
	for row := range had {
		if name, ok := strings.CutPrefix(row, needs); ok && !slices.Contains(files, name) {
			return fmt.Errorf("ledger migration %s: %w", name, ErrNewer)
		}
	}
	return nil
}

func (l *Ledger) migrations(ctx context.Context) (map[string]string, error) {
	rows, err := l.conn.Query(ctx, "SELECT name, sha256 FROM ledger.migrations FINAL")
	if err != nil {
		return nil, fmt.Errorf("ledger migrations: %w", err)
	}
	defer rows.Close()
	had := map[string]string{}
	for rows.Next() {
		var name, sum string
		if err := rows.Scan(&name, &sum); err != nil {
			return nil, fmt.Errorf("ledger migrations: %w", err)
		}
		had[name] = sum
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("ledger migrations: %w", err)
	}
	return had, nil
}

// apply runs one file, unless the ledger had it. It is recorded last, so that a
// crash in it repeats it.
func (l *Ledger) apply(ctx context.Context, name, had string) error {
	text, err := fs.ReadFile(tables.Files, name)
	if err != nil {
		return err
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(text))
	if had == sum {
		return nil
	}
	if had != "" {
		return ErrChanged
	}
	for _, q := range statements(string(text)) {
		if err := l.conn.Exec(ctx, q); err != nil {
			return err
		}
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0}))
	return l.conn.Exec(ctx, "INSERT INTO ledger.migrations (name, sha256) VALUES ('"+name+"', '"+sum+"')")
}

var comment = regexp.MustCompile(`(?m)^\s*--.*$`)

// statements splits a file at semicolons that end a line. Comments go: some
// servers take one after the last statement for a statement.
func statements(text string) (all []string) {
	for q := range strings.SplitSeq(comment.ReplaceAllString(text, ""), ";\n") {
		if q = strings.TrimSpace(q); q != "" {
			all = append(all, q)
		}
	}
	return all
}
