package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// ErrNoVault means that the targets answer and none of them holds a vault.
var ErrNoVault = errors.New("no vault")

// Vault is an open vault: its settings, and its targets in the order of shards.
// It may be used by many goroutines, and needs no closing.
type Vault struct {
	Settings
	ID    string // 32 hex digits
	slots []*slot
}

// Open opens the vault that lies on targets, given in any order: each says
// itself which one it is. It needs an answer from k; those that are down or not
// given are missing until they answer (a writer needs all to be given). It
// refuses targets of two vaults, one target that was given twice, and more
// targets than the vault has.
func Open(ctx context.Context, targets []Target) (*Vault, error) {
	found := ask(ctx, targets)
	first := slices.IndexFunc(found, func(a settingsAnswer) bool { return a.err == nil })
	if first < 0 {
		return nil, none(found)
	}
	want := found[first].file
	v := &Vault{Settings: want.Settings, ID: want.ID, slots: make([]*slot, want.N())}
	if len(targets) > want.N() {
		return nil, fmt.Errorf("%d targets given for %s", len(targets), want)
	}
	answered := 0
	var silent []settingsAnswer
	for _, a := range found {
		if a.err != nil {
			silent = append(silent, a)
			continue
		}
		if !a.file.same(want) {
			return nil, fmt.Errorf("targets of two vaults: %s has %s; %s has %s", found[first].Name, want, a.Name, a.file)
		}
		if s := v.slots[a.file.no()]; s != nil {
			return nil, fmt.Errorf("targets %s and %s lead to one place: what both find there is target %s of %s", twin(found, a), a.Name, a.file.Target, want)
		}
		v.slots[a.file.no()] = v.slot(want, a.file.no(), a.Store)
		v.slots[a.file.no()].proven.Store(true)
		answered++
	}
	if answered < want.K {
		return nil, fmt.Errorf("open %s: %w: %d, %d are needed: %w", want, ErrTooFew, answered, want.K, faults(silent))
	}
	v.seat(want, silent)
	return v, nil
}

// seat gives the targets that did not answer the slots that are left: by name,
// else in order. If that is wrong, they are not proven when they come.
func (v *Vault) seat(want settingsFile, silent []settingsAnswer) {
	for byName := range []int{0, 1} {
		silent = slices.DeleteFunc(silent, func(a settingsAnswer) bool {
			i := slices.Index(v.slots, nil)
			if byName == 0 {
				i = slices.Index(want.Targets, a.Name)
			}
			if i < 0 || v.slots[i] != nil {
				return false
			}
			v.slots[i] = v.slot(want, i, a.Store)
			return true
		})
	}
	for i, s := range v.slots {
		if s == nil {
			v.slots[i] = v.slot(want, i, nil)
		}
	}
}

func (v *Vault) slot(want settingsFile, i int, store blob.Store) *slot {
	want.Target = want.Targets[i]
	return newSlot(want.Target, store, want.encode())
}

// Target is the name of the target that holds shard n, as vault.json has it.
func (v *Vault) Target(n int) string { return v.slots[n].name }

// Store is the target of shard n, to read from: retried and limited. It is an
// error while the target does not answer or is not the one it should be.
func (v *Vault) Store(ctx context.Context, n int) (blob.Store, error) {
	s, err := v.slots[n].open(ctx)
	if err != nil {
		return nil, v.slots[n].fault(err)
	}
	return s, nil
}

// Missing asks each target that has not shown itself yet, and says of those
// that still don't why. Nil: all are there.
func (v *Vault) Missing(ctx context.Context) error {
	errs := make([]error, len(v.slots))
	var wg sync.WaitGroup
	for i, s := range v.slots {
		wg.Go(func() {
			if _, err := s.open(ctx); err != nil {
				errs[i] = s.fault(err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (v *Vault) String() string { return v.Name }

// settingsAnswer is what one target says of itself.
type settingsAnswer struct {
	Target
	file settingsFile
	err  error
}

func ask(ctx context.Context, targets []Target) []settingsAnswer {
	found := make([]settingsAnswer, len(targets))
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() {
			b, err := within(ctx, readMax, func(ctx context.Context) ([]byte, error) {
				return blob.Retry(t.Store, blob.Brief).Get(ctx, settingsKey, 0, -1)
			})
			found[i] = settingsAnswer{Target: t, err: err}
			if err == nil {
				found[i].file, found[i].err = parseSettings(b)
			}
		})
	}
	wg.Wait()
	return found
}

// none says why no target told of a vault.
func none(found []settingsAnswer) error {
	if len(found) == 0 {
		return errors.New("open vault: no targets given")
	}
	for _, a := range found {
		if !errors.Is(a.err, blob.ErrNotExist) {
			return fmt.Errorf("open vault: %w", faults(found))
		}
	}
	names := make([]string, len(found))
	for i, a := range found {
		names[i] = a.Name
	}
	return fmt.Errorf("open vault: %w on %s", ErrNoVault, strings.Join(names, ", "))
}

func faults(found []settingsAnswer) error {
	var errs []error
	for _, a := range found {
		if a.err != nil {
			errs = append(errs, fmt.Errorf("target %s: %w", a.Name, a.err))
		}
	}
	return errors.Join(errs...)
}

// twin is the target before a that said the same.
func twin(found []settingsAnswer, a settingsAnswer) string {
	i := slices.IndexFunc(found, func(b settingsAnswer) bool { return b.err == nil && b.file.Target == a.file.Target })
	return found[i].Name
}
