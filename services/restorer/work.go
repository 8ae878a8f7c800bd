package restorer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

const (
	statusCompleted = "completed"
	statusFailed    = "failed"
	statusRefused   = "refused"
)

// refusal is what no retry cures, because the order itself is wrong.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// patience is how long weather at the vault or the destination is waited for.
const patience = 10 * time.Minute

// run does one restore and returns its last word.
func (r *room) run(ctx context.Context, row *schemas.RestoreOpen, resumed bool) schemas.RestoreCompleted {
	id, _ := schemas.UUIDOf(row.Restore)
	c := schemas.RestoreCompleted{Restore: id, StartedAt: time.UnixMilli(row.SinceMs).UTC()}
	var req schemas.RestoreRequested
	err := json.Unmarshal(row.Request, &req)
	if err == nil {
		c.Point, c.Destination = req.Point, cmp.Or(req.Destination.Source, req.Destination.Dir)
		err = r.restore(ctx, id, req, resumed, &c)
	}
	c.Status, c.DoneAt = statusCompleted, r.env.Now().UTC()
	if err != nil {
		c.Status, c.Reason = statusFailed, err.Error()
		if _, ok := errors.AsType[refusal](err); ok {
			c.Status = statusRefused
		}
	}
	return c
}

func (r *room) restore(ctx context.Context, id schemas.UUID, req schemas.RestoreRequested, resumed bool, c *schemas.RestoreCompleted) error {
	if err := r.allowed(req); err != nil {
		return refusal{err}
	}
	if req.Destination.Source != "" {
		return r.bringBack(ctx, id, req, resumed, c)
	}
	as, err := vault.ParseFormat(req.As)
	if err != nil {
		return refusal{err}
	}
	p, err := r.point(ctx, req.Point)
	if err != nil {
		return err
	}
	placed, err := r.place(p, req, as)
	if err != nil {
		return refusal{err}
	}
	there, err := r.there(ctx, p, placed, req.Force, resumed)
	if err != nil {
		return err
	}
	told := r.progress(id, req.Point, placed)
	for _, f := range placed {
		var warnings []string
		if !there[f.Path] {
			err := told.patient(ctx, func() (err error) {
				warnings, err = r.deps.Reader.RestorePlaced(ctx, p, f, req.Force, told.at)
				return err
			})
			if err != nil {
				return err
			}
		}
		c.Files, c.Size, c.Warnings = append(c.Files, f.Path), c.Size+f.Size(), append(c.Warnings, warnings...)
		told.file(f.Size())
	}
	c.Written = told.written
	return nil
}

// point reads the point that is to be restored.
func (r *room) point(ctx context.Context, path string) (p *vault.Point, err error) {
	err = retry(ctx, func() (err error) {
		p, err = r.deps.Reader.Point(ctx, path)
		return err
	})
	if errors.Is(err, blob.ErrNotExist) {
		return nil, refusal{fmt.Errorf("%s: %w", path, errGone)}
	}
	return p, err
}

// allowed says what is wrong with an order, before anything is read.
func (r *room) allowed(req schemas.RestoreRequested) error {
	if req.Vault != "" && req.Vault != r.deps.Vault.Name {
		return fmt.Errorf("vault %q is not here: this house has %q", req.Vault, r.deps.Vault.Name)
	}
	if !strings.HasPrefix(req.Point, vault.PointsDir) || blob.CheckKey(req.Point) != nil {
		return fmt.Errorf("%q: %w", req.Point, errGone)
	}
	if req.Destination.Source != "" {
		return r.machineAllowed(req)
	}
	if d := req.Destination; d.Name+d.Folder+d.Pool+d.Datastore != "" || len(d.Networks) > 0 || d.InPlace || d.PowerOn {
		return errors.New("name, folder, pool, datastore, networks, inPlace and powerOn are for a restore into a source, and none is named")
	}
	if req.Destination.Dir == "" {
		return errors.New("destination names neither a dir nor a source")
	}
	if !filepath.IsAbs(req.Destination.Dir) {
		return fmt.Errorf("destination %q is no absolute path", req.Destination.Dir)
	}
	if len(r.roots) == 0 {
		return errNoRoots
	}
	return r.below(req.Destination.Dir)
}

// place says where each file goes. A folder below the destination may be a link,
// so that each file is held against the roots, too.
func (r *room) place(p *vault.Point, req schemas.RestoreRequested, as vault.Format) ([]vault.Placed, error) {
	placed, err := vault.Place(p, req.Files, req.Destination.Dir, req.Mapping, as)
	if err != nil {
		return nil, err
	}
	for _, f := range placed {
		if err := r.below(filepath.Dir(f.Path)); err != nil {
			return nil, err
		}
	}
	return placed, nil
}

// below refuses a folder that is, links followed, below none of the roots.
func (r *room) below(dir string) error {
	real, err := realPath(dir)
	if err != nil {
		return err
	}
	for _, root := range r.roots {
		if real == root || strings.HasPrefix(real, strings.TrimSuffix(root, "/")+"/") {
			return nil
		}
	}
	return fmt.Errorf("destination %s lies below none of restore.roots %v", dir, r.roots)
}

// realPath follows links as far as the path exists, so that no link leads out of
// a root.
func realPath(path string) (string, error) {
	path = filepath.Clean(path)
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		return real, nil
	}
	if !errors.Is(err, fs.ErrNotExist) || path == "/" {
		return "", fmt.Errorf("destination: %w", err)
	}
	if _, err := os.Lstat(path); err == nil {
		return "", fmt.Errorf("destination: %s is a link that leads nowhere", path)
	}
	parent, err := realPath(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}

func realRoots(roots []string) (real []string, err error) {
	for _, root := range roots {
		path, err := realPath(root)
		if err != nil {
			return nil, fmt.Errorf("restore.roots: %w", err)
		}
		real = append(real, path)
	}
	return real, nil
}

// there says which files are restored already, before the first byte is written.
// Without force a file that is in the way is refused, unless the restore is gone
// on with and the file is equal to the point's: a crash hides whose it is, and
// what is equal need not be known.
func (r *room) there(ctx context.Context, p *vault.Point, placed []vault.Placed, force, resumed bool) (map[string]bool, error) {
	there := map[string]bool{}
	for _, f := range placed {
		st, err := os.Lstat(f.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, refusal{fmt.Errorf("destination: %w", err)}
		}
		if force && !st.IsDir() {
			continue
		}
		if resumed && !force && f.As == vault.Raw {
			err := retry(ctx, func() (err error) {
				there[f.Path], err = r.deps.Reader.Restored(ctx, p, f.Files[0], f.Path)
				return err
			})
			if err != nil {
				return nil, err
			}
		}
		if !there[f.Path] {
			return nil, refusal{fmt.Errorf("%s is there already; force restores over files", f.Path)}
		}
	}
	return there, nil
}

// retry waits for weather; damage, wrong keys, and a destination that can't take
// the file whoever waits are told at once.
func retry(ctx context.Context, f func() error) error {
	return retryTold(ctx, f, func(error, time.Duration) {})
}

func retryTold(ctx context.Context, f func() error, tell backoff.Notify) error {
	b := backoff.NewExponentialBackOff(backoff.WithMaxInterval(30*time.Second), backoff.WithMaxElapsedTime(patience))
	return backoff.RetryNotify(func() error {
		err := f()
		if final(err) {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(b, ctx), tell)
}

// final reports what no retry cures.
func final(err error) bool {
	for _, end := range []error{blob.ErrNotExist, vault.ErrDamaged, vault.ErrWrongKey, vault.ErrNoKey, fs.ErrExist, fs.ErrPermission,
		source.ErrPermanent, syscall.ENAMETOOLONG, syscall.ENOTDIR, syscall.EROFS, syscall.EFBIG} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}
