package up

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

// FirstKeys makes keys, passphrase and vault where there are none, and says once
// that lost keys are lost data. What an earlier call made stays, so one that was
// cut off is finished by the next.
func FirstKeys(ctx context.Context, c *conf.Config, say io.Writer) error {
	_, err := firstKeys(ctx, c, say)
	return err
}

// firstKeys returns the whole ring too, where the passphrase was there to open it:
// that may cost most of a second, which a start should spend once. nil: it was not.
func firstKeys(ctx context.Context, c *conf.Config, say io.Writer) (*vault.Ring, error) {
	targets, err := house.Targets(c)
	if err != nil {
		return nil, err
	}
	v, err := vault.Open(ctx, targets)
	if err == nil {
		if _, err = v.Epoch(ctx); err == nil {
			ring, err := haveKeys(ctx, c, v)
			if err == nil {
				err = remember(c, v)
			}
			return ring, err
		}
	} else if !errors.Is(err, vault.ErrNoVault) {
		return nil, err
	} else if err := neverMade(c, err); err != nil {
		return nil, err
	}
	pass, fresh, err := passphrase(c)
	if err != nil {
		return nil, err
	}
	cost := vault.WrapCostDefault
	if fresh {
		cost = vault.WrapCostDrawn
	}
	ring, wrapped, err := firstRing(c, pass, cost)
	if err != nil {
		return nil, err
	}
	if err := vault.Init(ctx, targets, house.Settings(c), []vault.KeyObject{wrapped}); err != nil {
		return nil, err
	}
	if v, err = vault.Open(ctx, targets); err != nil {
		return nil, err
	}
	warn(c, ring, pass, fresh, say)
	return ring, remember(c, v)
}

// haveKeys refuses to go on where the keys beside us are not the vault's, and
// brings back key files that are missing, if the passphrase is there.
func haveKeys(ctx context.Context, c *conf.Config, v *vault.Vault) (*vault.Ring, error) {
	_, err := vault.LoadRing(c.Keys.Dir)
	if err == nil {
		return sameKeys(ctx, c, v)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	pass, perr := house.Passphrase(c.Keys.PassphraseFile)
	if perr != nil {
		return nil, fmt.Errorf("the vault is there and its keys are not: %w; %w", err, perr)
	}
	ring, perr := house.OpenKeys(ctx, v, pass)
	if perr != nil {
		return nil, fmt.Errorf("the vault is there and its keys are not: %w; %w", err, perr)
	}
	return ring, saveMissing(ring, c.Keys.Dir)
}

// saveMissing writes the key files that are not there; those that are must be of
// the same ring.
func saveMissing(ring *vault.Ring, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, ".keys-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := vault.SaveRing(ring, tmp); err != nil {
		return err
	}
	for _, name := range []string{vault.NameFile, vault.MapFile, vault.PublicFile} {
		if err := os.Link(filepath.Join(tmp, name), filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("save %s: %w", name, err)
		}
	}
	saved, err := vault.LoadRing(dir)
	if err == nil && (saved.Name != ring.Name || saved.Map != ring.Map || saved.ID() != ring.ID()) {
		err = fmt.Errorf("some key files in %s are of another vault: move them away", dir)
	}
	return err
}

// sameKeys compares the key files with those that the vault was made with.
func sameKeys(ctx context.Context, c *conf.Config, v *vault.Vault) (*vault.Ring, error) {
	pass, err := house.Passphrase(c.Keys.PassphraseFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // kept elsewhere: only the restorer needs it, and will say so
	}
	if err != nil {
		return nil, err
	}
	theirs, err := house.OpenKeys(ctx, v, pass)
	if err != nil {
		return nil, err
	}
	ours, err := vault.LoadRing(c.Keys.Dir)
	if err != nil {
		return nil, err
	}
	if ours.Fingerprint() != theirs.Fingerprint() {
		return nil, fmt.Errorf("the keys in %s (%s) are not those of the vault (%s): backups made with them could not be restored", c.Keys.Dir, ours.Fingerprint(), theirs.Fingerprint())
	}
	return theirs, nil
}

// passphrase reads the file, or makes it.
func passphrase(c *conf.Config) (pass []byte, fresh bool, err error) {
	pass, err = house.Passphrase(c.Keys.PassphraseFile)
	if !errors.Is(err, os.ErrNotExist) {
		return pass, false, err
	}
	raw := make([]byte, 20) // 160 bits: nobody guesses it, so it is wrapped at WrapCostDrawn
	rand.Read(raw)
	word := strings.ToLower(base32.StdEncoding.EncodeToString(raw))
	var groups []string
	for i := 0; i < len(word); i += 4 {
		groups = append(groups, word[i:i+4])
	}
	pass = []byte(strings.Join(groups, "-"))
	return pass, true, writeNew(c.Keys.PassphraseFile, append(pass, '\n'))
}

// writeNew makes a file that must not be there yet, whole and durable or not at
// all: a disk that fills up must leave nothing that the next start takes for it.
func writeNew(path string, b []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Link(f.Name(), path) // which, unlike a rename, takes no other's place
}

// firstRing makes the keys of a new vault. Their wrapped form is written first, and
// everything else can be made of it again: so a crash between any two lines here
// and Init leaves keys that are whole, or none that were ever used.
func firstRing(c *conf.Config, pass []byte, cost vault.WrapCost) (*vault.Ring, vault.KeyObject, error) {
	file := filepath.Join(c.Keys.Dir, "wrapped")
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(c.Keys.Dir, vault.NameFile)); err == nil {
			return nil, vault.KeyObject{}, fmt.Errorf("%s holds keys, and no vault is there that they are of: move them away", c.Keys.Dir)
		}
		ring, err := vault.NewRing()
		if err != nil {
			return nil, vault.KeyObject{}, err
		}
		o, err := vault.WrapAt(cost, ring, pass)
		if err == nil {
			err = errors.Join(writeNew(file, o.Body), saveMissing(ring, c.Keys.Dir))
		}
		return ring, o, err
	}
	if err != nil {
		return nil, vault.KeyObject{}, err
	}
	w, err := vault.ParseWrapped(b)
	if err != nil {
		return nil, vault.KeyObject{}, fmt.Errorf("%s: %w", file, err)
	}
	ring, err := vault.Unwrap(b, pass)
	if err != nil {
		return nil, vault.KeyObject{}, fmt.Errorf("%s: %w", file, err)
	}
	return ring, w.Object(), saveMissing(ring, c.Keys.Dir)
}

func warn(c *conf.Config, ring *vault.Ring, pass []byte, fresh bool, say io.Writer) {
	fmt.Fprintf(say, "\nThe vault %s is made. Its keys are %s, in %s.\n", c.Vault.Name, ring.Fingerprint(), c.Keys.Dir)
	if fresh {
		fmt.Fprintf(say, "Its passphrase, shown this once and kept in %s:\n\n    %s\n\n", c.Keys.PassphraseFile, pass)
	}
	fmt.Fprintf(say, "LOST KEYS ARE LOST DATA. Whoever has the vault and this passphrase can read every\nbackup, and without it nobody can, we neither. Keep a copy where this machine's loss\ndoes not reach it: holdfast keys paper prints one.\n\n")
}
