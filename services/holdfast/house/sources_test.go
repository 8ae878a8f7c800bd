package house

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/source/vsphere"
	"github.com/holdfast-backup/holdfast/ops/standalone/vcenter"
)

// A configured vCenter is listed, with the password that its file holds at each
// login; and one that is not there stops no start.
func TestSourcesOfAVCenter(t *testing.T) {
	dir := t.TempDir()
	v, err := vcenter.Start(vcenter.Options{Dir: filepath.Join(dir, "vc"), User: "u", Password: "right"})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := v.Add(vcenter.Machine{Name: "web 1"}); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	write := func(s string) {
		if err := os.WriteFile(secret, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("geheim\n")
	c := &conf.Config{Sources: []conf.Source{{Name: "vc", Kind: "vsphere", URL: v.URL(), User: "u", PasswordFile: secret, Thumbprint: v.Thumbprint(), Transport: "auto"},
		{Name: "down", Kind: "vsphere", URL: "https://127.0.0.1:1", User: "u", PasswordFile: secret, Transport: "auto"}}}
	all, err := Sources(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := all["vc"].(*vsphere.Source); !ok || len(all) != 2 {
		t.Fatalf("opened are %v", all)
	}
	if _, err := all["vc"].List(t.Context()); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("with a wrong password: %v", err)
	}
	write("right\n")
	inv, err := all["vc"].List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(inv.Machines) != 1 || inv.Machines[0].Name != "web 1" {
		t.Errorf("listed %+v", inv.Machines)
	}
	if err := CloseSources(all); err != nil {
		t.Error(err)
	}
}
