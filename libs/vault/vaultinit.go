package vault

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// Init makes a vault on targets, whose order becomes the order of shards, and
// puts the wrapped keys and the first epoch into it. All k+m must answer. What
// it finds of the same vault stays, so an Init that was cut off is finished by
// the same call. A target of another vault, of another region or with other
// settings is refused, and so are two targets that lead to one place.
func Init(ctx context.Context, targets []Target, s Settings, wrapped []KeyObject) error {
	file, err := plan(ctx, targets, s)
	if err != nil {
		return fmt.Errorf("make vault %s: %w", s.Name, err)
	}
	// One after another: the second of two targets in one place meets the first's file.
	for _, t := range targets {
		file.Target = t.Name
		if err := putWhole(ctx, t, settingsKey, file.encode()); err != nil {
			if errors.Is(err, ErrConflict) {
				err = fmt.Errorf("target %s leads to the place of another target: %w", t.Name, err)
			}
			return fmt.Errorf("make vault %s: %w", s.Name, err)
		}
	}
	for _, t := range targets {
		for _, k := range wrapped {
			if err := putWhole(ctx, t, KeysDir+k.ID, k.Body); err != nil {
				return fmt.Errorf("make vault %s: %w", s.Name, err)
			}
		}
		if err := putWhole(ctx, t, epochKey(1), firstEpoch); err != nil {
			return fmt.Errorf("make vault %s: %w", s.Name, err)
		}
	}
	return nil
}

// plan looks at the targets before anything is written.
func plan(ctx context.Context, targets []Target, s Settings) (file settingsFile, err error) {
	if err := s.Check(); err != nil {
		return file, err
	}
	file = settingsFile{Format: settingsFormat, Settings: s}
	for _, t := range targets {
		if t.Name == "" || slices.Contains(file.Targets, t.Name) {
			return file, fmt.Errorf("target %q: each wants a name of its own", t.Name)
		}
		file.Targets = append(file.Targets, t.Name)
	}
	if len(targets) != s.N() {
		return file, fmt.Errorf("%d targets for %d+%d shards: want %d, each on a device of its own", len(targets), s.K, s.M, s.N())
	}
	for _, a := range ask(ctx, targets) {
		if errors.Is(a.err, blob.ErrNotExist) {
			continue
		}
		if a.err != nil {
			return file, fmt.Errorf("target %s: %w", a.Name, a.err)
		}
		if file.ID == "" {
			file.ID = a.file.ID
		}
		if !a.file.same(file) {
			return file, fmt.Errorf("target %s holds %s already", a.Name, a.file)
		}
		if a.file.Target != a.Name {
			return file, fmt.Errorf("target %s leads to the place of target %s", a.Name, a.file.Target)
		}
	}
	if file.ID == "" {
		var id [16]byte
		rand.Read(id[:])
		file.ID = hex.EncodeToString(id[:])
	}
	return file, nil
}

// putWhole puts one copy of a whole object, which may be there with the same bytes.
func putWhole(ctx context.Context, t Target, key string, body []byte) error {
	store := blob.Retry(t.Store, blob.Brief)
	err := store.Put(ctx, key, body)
	if errors.Is(err, blob.ErrExist) {
		err = compare(ctx, store, key, body)
	}
	if err != nil {
		return fmt.Errorf("target %s: %w", t.Name, err)
	}
	return nil
}
