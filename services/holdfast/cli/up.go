package cli

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/watch"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

func (a *app) upCommand() *cobra.Command {
	o := up.Options{}
	var shards string
	c := &cobra.Command{
		Use:   "up [--images DIR] [--vcenter URL] [--target DIR ...]",
		Short: "One machine: broker, ledger, vault and every stage in one process",
		Example: "  holdfast up --images /srv/vms\n" +
			"  holdfast up --vcenter https://vc.example.org --vcenter-user holdfast@vsphere.local --vcenter-password-file /etc/holdfast/vcenter\n" +
			"  holdfast up --images /srv/vms --target /mnt/a --target /mnt/b --target /mnt/c --shards 2+1",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if shards != "" {
				k, m, plus := strings.Cut(shards, "+")
				var errK, errM error
				o.K, errK = strconv.Atoi(k)
				o.M, errM = strconv.Atoi(m)
				if !plus || errK != nil || errM != nil {
					return usage(fmt.Errorf("--shards %q: write k+m, such as 4+2", shards))
				}
			}
			log, err := a.logFile()
			if err != nil {
				return err
			}
			defer log.Close()
			o.Data, o.Say, o.Log = a.data, a.err, watch.Logger(log, slog.LevelInfo)
			if a.format == "json" {
				o.Ready = func(r house.RunFile) { a.printJSON(a.out, r) }
			}
			return up.Up(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&o.Images, "images", nil, "a folder of machines, each a folder of disk images")
	f.StringVar(&o.VCenter.URL, "vcenter", "", "a vCenter, https://host")
	f.StringVar(&o.VCenter.User, "vcenter-user", "", "who logs in there")
	f.StringVar(&o.VCenter.PasswordFile, "vcenter-password-file", "", "a file with the password, read at each login")
	f.StringVar(&o.VCenter.Thumbprint, "vcenter-thumbprint", "", "of the vCenter's certificate, SHA-256; default: the system's roots are believed")
	f.StringArrayVar(&o.Targets, "target", nil, "a folder for shards, each on a disk of its own; default 6 below --data")
	f.StringVar(&shards, "shards", "", "k+m; default 4+2, or one in three targets may be lost")
	f.StringVar(&o.Compression, "compression", "", "of a new vault: zstd-fastest (default), zstd-default, minlz (a third of the CPU, 12 % more bytes) or none")
	f.IntVar(&o.Port, "kafka-port", 0, "of the broker, on loopback; default that of last time, else 9092")
	f.BoolVar(&o.Blind, "no-ledger", false, "without ClickHouse")
	return c
}

// logFile is where the stages log: a person at a terminal reads what up says.
func (a *app) logFile() (*os.File, error) {
	if err := os.MkdirAll(a.data, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	return os.OpenFile(filepath.Join(a.data, "holdfast.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}
