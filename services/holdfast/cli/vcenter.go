package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/ops/standalone/vcenter"
)

// vcenterCommand runs the demo vCenter alone, for whoever wants to try the house on
// something that behaves like one.
func (a *app) vcenterCommand() *cobra.Command {
	o := vcenter.Options{}
	machines, size := 0, ""
	c := &cobra.Command{
		Use:   "vcenter --dir DIR [--machines N]",
		Short: "A vCenter to try things on: a simulator whose machines have disks",
		Example: "  holdfast vcenter --dir /var/tmp/vc --machines 20\n" +
			"  holdfast vcenter --dir /tmp/holdfast-demo-0/vcenter",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Dir == "" {
				return usage(fmt.Errorf("vcenter needs --dir"))
			}
			bytes, err := conf.ParseSize(size)
			if err != nil {
				return usage(fmt.Errorf("--size: %w", err))
			}
			v, err := vcenter.Start(o)
			if err != nil {
				return err
			}
			defer v.Close()
			for i := len(v.Machines()); i < machines; i++ {
				if _, err := v.Add(vcenter.Machine{Name: fmt.Sprintf("vm-%04d", i+1), On: true, Tracking: true, Disks: []vcenter.Disk{{Size: int64(bytes)}}}); err != nil {
					return err
				}
			}
			file := filepath.Join(v.Dir, "password")
			if err := os.WriteFile(file, []byte(v.Password+"\n"), 0o600); err != nil {
				return fmt.Errorf("vcenter: %w", err)
			}
			a.say("%d machines. To back them up: holdfast up --vcenter %s --vcenter-user %s --vcenter-password-file %s --vcenter-thumbprint %s",
				len(v.Machines()), v.URL(), v.User, file, v.Thumbprint())
			<-c.Context().Done()
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.Dir, "dir", "", "its folder; what was there comes back")
	f.IntVar(&o.Port, "port", 0, "on loopback; default that of last time")
	f.IntVar(&machines, "machines", 0, "make so many, with empty disks")
	f.StringVar(&size, "size", "1GiB", "of each disk")
	return c
}
