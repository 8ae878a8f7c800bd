package vault

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// WhoIs is what a store says of itself, for people: whose target it is. The error
// is ErrNoVault if it answers and holds none.
func WhoIs(ctx context.Context, s blob.Store) (string, error) {
	a := ask(ctx, []Target{{Store: s}})[0]
	if errors.Is(a.err, blob.ErrNotExist) {
		return "", ErrNoVault
	}
	if a.err != nil {
		return "", a.err
	}
	return fmt.Sprintf("target %s of %s", a.file.Target, a.file), nil
}
