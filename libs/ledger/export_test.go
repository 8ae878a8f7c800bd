package ledger

import (
	"context"
	"io/fs"
	"time"

	tables "github.com/holdfast-backup/holdfast/schemas/ledger"
)

// Later is a minute later: the next insert looks at the tables again.
func (l *Ledger) Later() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looked = time.Now().Add(-lookEvery)
}

// Former brings the tables to what a program knew that had only the first files, and
// leaves them so for a minute: that is the program that inserts. What ours inserts has
// columns that came later; they are added, and their migrations find them.
func (l *Ledger) Former(ctx context.Context, files int) error {
	all, err := fs.Glob(tables.Files, "*.sql")
	if err != nil {
		return err
	}
	for _, q := range boot {
		if err := l.conn.Exec(ctx, q); err != nil {
			return err
		}
	}
	for _, name := range all[:files] {
		if err := l.apply(ctx, name, ""); err != nil {
			return err
		}
	}
	if err := l.conn.Exec(ctx, "ALTER TABLE ledger.backup_state ADD COLUMN IF NOT EXISTS policy LowCardinality(String) AFTER state"); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looked = time.Now()
	return nil
}
