package restorer

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/schemas"
)

// errWhose is told alike by the restorers of all regions.
var errWhose = errors.New("several regions read this request, and it names no vault: say whose point it is")

// whose reports whether a request is for this restorer: every region's reads all
// requests. One that names another's vault is that region's to answer, if there is any;
// where we are alone, nobody else will.
func (s *shared) whose(ctx context.Context, req schemas.RestoreRequested) (ours bool, bad, err error) {
	if req.Vault == s.deps.Vault.Name || s.deps.Alone == nil {
		return true, nil, nil
	}
	alone, err := s.deps.Alone(ctx)
	switch {
	case err != nil:
		return false, nil, fmt.Errorf("whose restore of %s it is: %w", req.Point, err)
	case alone:
		return true, nil, nil
	case req.Vault == "":
		return true, errWhose, nil
	}
	return false, nil, nil
}
