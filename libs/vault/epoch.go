package vault

import (
	"context"
	"fmt"
	"strconv"
)

// epochsDir is where the order of deletion lies: epochs/<n> opens epoch n.
const epochsDir = "epochs/"

// firstEpoch drops nothing and condemns nothing.
var firstEpoch = []byte(`{"format":1,"epoch":1}` + "\n")

func epochKey(n uint64) string { return epochsDir + strconv.FormatUint(n, 10) }

// Epoch is the newest epoch that was opened in this vault. It is 1 or more: Init
// opens the first.
func (v *Vault) Epoch(ctx context.Context) (uint64, error) {
	keys, err := v.ListSmall(ctx, epochsDir)
	if err != nil {
		return 0, fmt.Errorf("newest epoch of %s: %w", v, err)
	}
	var newest uint64
	for _, k := range keys {
		n, err := strconv.ParseUint(k[len(epochsDir):], 10, 64)
		if err == nil && epochKey(n) == k { // else a marker or a roll of an epoch
			newest = max(newest, n)
		}
	}
	if newest == 0 {
		return 0, fmt.Errorf("vault %s has no epoch: its making was cut off, finish it by making it again", v)
	}
	return newest, nil
}
