package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

// cold is a vault that is read without any service of ours: targets and
// passphrase are all there is.
type cold struct {
	app        *app
	at         []string
	passphrase string
}

func (a *app) vaultCommand() *cobra.Command {
	v := &cold{app: a}
	c := &cobra.Command{
		Use:   "vault --at TARGETS ... list|show|restore|verify",
		Short: "Read a vault with nothing but its targets and its passphrase",
		Example: "  holdfast vault --at /mnt/a --at /mnt/b --passphrase-file key list\n" +
			"  holdfast vault --at /var/lib/holdfast/vault restore web-01 --to /srv/back\n" +
			"  holdfast vault --at /etc/holdfast.yaml --passphrase-file key verify\n" +
			"  holdfast vault --at '" + conf.TargetURL + "' list",
	}
	f := c.PersistentFlags()
	f.StringArrayVar(&v.at, "at", nil, "a target, which is a folder or a bucket; a folder of targets; or a file with vault.targets, such as a configuration; may be repeated")
	f.StringVar(&v.passphrase, "passphrase-file", "", "default <data>/keys/passphrase, else asked for")
	var to, as string
	var files []string
	var force, deep bool
	restore := &cobra.Command{Use: "restore POINT --to DIR", Short: "Restore a machine, or files of it", Args: cobra.ExactArgs(1),
		Example: "  holdfast vault --at /mnt/vault restore web-01 --to /srv/back\n  holdfast vault --at /mnt/vault restore web-01 --to /srv/back --as qcow2 --file disk0.raw",
		RunE: func(c *cobra.Command, args []string) error {
			if to == "" {
				return usage(errors.New("restore needs --to"))
			}
			format, err := vault.ParseFormat(as)
			if err != nil {
				return usage(fmt.Errorf("--as: %w", err))
			}
			return v.restore(c.Context(), args[0], to, format, files, force)
		}}
	restore.Flags().StringVar(&to, "to", "", "the folder to restore into")
	restore.Flags().StringArrayVar(&files, "file", nil, "only this file; may be repeated")
	restore.Flags().StringVar(&as, "as", "", asHelp)
	restore.Flags().BoolVar(&force, "force", false, "restore over files that are there")
	verify := &cobra.Command{Use: "verify [POINT]", Short: "Look for every shard; with --deep read and check each", Args: cobra.MaximumNArgs(1),
		Example: "  holdfast vault --at /mnt/vault verify\n  holdfast vault --at /mnt/vault verify web-01 --deep",
		RunE: func(c *cobra.Command, args []string) error {
			r, _, err := v.open(c.Context())
			if err != nil {
				return err
			}
			return a.verify(c.Context(), r, args, deep)
		}}
	verify.Flags().BoolVar(&deep, "deep", false, "read and check every byte")
	c.AddCommand(restore, verify,
		&cobra.Command{Use: "list", Short: "Points", Args: cobra.NoArgs, Example: "  holdfast vault --at /mnt/vault list\n  holdfast vault --at /mnt/vault list -o json",
			RunE: func(c *cobra.Command, _ []string) error {
				_, ring, err := v.open(c.Context())
				if err != nil {
					return err
				}
				opened, err := v.vault(c.Context())
				if err != nil {
					return err
				}
				return a.listPoints(c.Context(), opened, ring, nil)
			}},
		&cobra.Command{Use: "show POINT", Short: "One point and its files", Args: cobra.ExactArgs(1), Example: "  holdfast vault --at /mnt/vault show web-01\n  holdfast vault --at /mnt/vault show 7c1f9a2e -o json",
			RunE: func(c *cobra.Command, args []string) error { return v.show(c.Context(), args[0]) }})
	return c
}

func (v *cold) vault(ctx context.Context) (*vault.Vault, error) {
	targets, err := v.targets()
	if err != nil {
		return nil, err
	}
	return vault.Open(ctx, targets)
}

func (v *cold) open(ctx context.Context) (*vault.Reader, *vault.Ring, error) {
	opened, err := v.vault(ctx)
	if err != nil {
		return nil, nil, err
	}
	pass, err := v.secret()
	if err != nil {
		return nil, nil, err
	}
	ring, err := house.OpenKeys(ctx, opened, pass)
	if err != nil {
		return nil, nil, err
	}
	r, err := opened.Reader(ring)
	return r, ring, err
}

func (v *cold) secret() ([]byte, error) {
	if v.passphrase != "" {
		return house.Passphrase(v.passphrase)
	}
	pass, err := house.Passphrase(filepath.Join(v.app.data, "keys", "passphrase"))
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return pass, err
	}
	if f, ok := v.app.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(v.app.err, "passphrase: ")
		defer fmt.Fprintln(v.app.err)
		return term.ReadPassword(int(f.Fd()))
	}
	return nil, errors.New("no passphrase: give --passphrase-file")
}

func (v *cold) find(ctx context.Context, name string) (*vault.Reader, point, error) {
	r, _, err := v.open(ctx)
	if err != nil {
		return nil, point{}, err
	}
	all, _, err := points(ctx, r)
	if err != nil {
		return nil, point{}, err
	}
	p, err := pick(all, name)
	return r, p, err
}

func (v *cold) show(ctx context.Context, name string) error {
	_, p, err := v.find(ctx, name)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, f := range p.Files {
		rows = append(rows, []string{f.Name, f.Kind, v.app.bytesOf(f.Size), cmp.Or(f.Via, "-")})
	}
	return v.app.table(p, []string{"FILE", "KIND", "SIZE", "VIA"}, rows)
}

func (v *cold) restore(ctx context.Context, name, to string, as vault.Format, files []string, force bool) error {
	r, p, err := v.find(ctx, name)
	if err != nil {
		return err
	}
	placed, err := vault.Place(p.object, files, to, nil, as)
	if err != nil {
		return refused(err)
	}
	start := time.Now()
	var size, written uint64
	warned := []string{}
	for _, f := range placed {
		var last uint64
		warnings, err := r.RestorePlaced(ctx, p.object, f, force, func(_, n uint64) { last = n })
		if err != nil {
			if errors.Is(err, os.ErrExist) {
				return refused(fmt.Errorf("%w; --force restores over it", err))
			}
			return err
		}
		size, written, warned = size+f.Size(), written+last, append(warned, warnings...)
		v.app.say("%s", f.Path)
		for _, w := range warnings {
			v.app.say("warning: %s", w)
		}
	}
	if v.app.format == "json" {
		return v.app.printJSON(v.app.out, map[string]any{"result": map[string]any{"point": p.Path, "sizeBytes": size, "writtenBytes": written, "warnings": warned}})
	}
	_, err = fmt.Fprintf(v.app.out, "restored %s, %s written, in %.1f s; every chunk's name compared\n", human(size), human(written), time.Since(start).Seconds())
	return err
}
