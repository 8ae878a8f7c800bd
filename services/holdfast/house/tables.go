package house

import (
	"context"
	"iter"

	"github.com/holdfast-backup/holdfast/libs/vault"
)

// packTables is what the deduper's index is rebuilt from when its log and its
// store are gone: the tables of all packs in the vault.
type packTables struct {
	v *vault.Vault
	r *vault.Reader
}

// Packs yields those of which a write quorum is listed. No epoch condemns packs
// before there is collection.
func (t packTables) Packs(ctx context.Context) iter.Seq2[vault.PackID, error] {
	return func(yield func(vault.PackID, error) bool) {
		l := t.v.Packs(false)
		for p := range l.All(ctx) {
			if p.Sound() >= t.v.Quorum() && !yield(p.ID, nil) {
				return
			}
		}
		if err := l.Err(); err != nil {
			yield(vault.PackID{}, err)
		}
	}
}

func (t packTables) Table(ctx context.Context, id vault.PackID) ([]vault.Entry, error) {
	return t.r.PackTable(ctx, id)
}
