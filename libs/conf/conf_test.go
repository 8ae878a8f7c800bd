package conf

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const good = `
region: eu-1
data: data
staging:
  - {share: staging, size: 4GiB}
vault:
  shards: {k: 1, m: 1}
  targets:
    - {name: a, kind: file, path: vault/a}
    - {name: b, kind: file, path: vault/b}
sources:
  - {name: kvm, kind: images, path: machines, every: 1d}
stages:
  chunker: {size: 3}
`

func write(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"secret": "geheim\n", "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"machines", "vault/a"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a", filepath.Join(dir, "vault", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vault", "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "holdfast.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsAndPaths(t *testing.T) {
	path := write(t, good)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	if c.Vault.Targets[1].Path != filepath.Join(dir, "vault/b") || c.Staging[0].Window != 512<<20 || c.Vault.Grid != 64<<10 ||
		c.Sealed.Share != filepath.Join(dir, "staging/sealed") || c.Sources[0].Every != Duration(24*time.Hour) || c.Vault.Name != "eu-1" {
		t.Errorf("got %+v", c)
	}
	var sec struct {
		Size int `yaml:"size"`
	}
	if err := c.Section("chunker", &sec); err != nil || sec.Size != 3 {
		t.Errorf("section: %+v, %v", sec, err)
	}
	var none struct{}
	if err := c.Section("chunker", &none); err == nil || !strings.Contains(err.Error(), `stages.chunker: unknown field "size"`) {
		t.Errorf("a typo in a section became a default: %v", err)
	}
}

// Each line breaks the good file once; the message must name line, key and cause.
func TestBadInputIsNamed(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"typo", "region: eu-1", "regoin: eu-1", `holdfast.yaml:2: unknown field "regoin"`},
		{"typo below", "path: machines", "pth: machines", `unknown field "pth"`},
		{"region", "eu-1", "eu.1", `:2: region: "eu.1" is no name`},
		{"count", "k: 1, m: 1", "k: 2, m: 1", `:9: vault.targets: there are 2, and k+m is 3`},
		{"k", "k: 1, m: 1", "k: 0, m: 2", `vault.shards: k=0 m=2`},
		{"target is a file", "vault/b", "vault/file", `:10: vault.targets[1].path: `},
		{"one folder twice", "vault/b", "vault/../vault/a", "is the folder of target a too"},
		{"one folder by a link", "vault/b", "vault/link", "is the folder of target a too"},
		{"one folder below a link", "path: vault/a}\n    - {name: b, kind: file, path: vault/b}", "path: vault/a/x}\n    - {name: b, kind: file, path: vault/link/x}", "is the folder of target a too"},
		{"more targets than k+m", "k: 1, m: 1", "k: 1, m: 0", `:9: vault.targets: there are 2, and k+m is 1`},
		{"m", "k: 1, m: 1", "k: 3, m: -1", `vault.shards: k=3 m=-1`},
		{"kind of target", "name: b, kind: file", "name: b, kind: tape", `vault.targets[1].kind: "tape" is not known`},
		{"no path", ", path: vault/b", "", "vault.targets[1].path: is missing"},
		{"two sources of one name", "stages:", "  - {name: kvm, kind: images, path: machines}\nstages:", `sources[1].name: "kvm" is there twice`},
		{"source is a file", "path: machines", "path: vault/file", "vault/file is a file, not a folder"},
		{"no snapshot", "every: 1d", "limits: {snapshots: -1}", "sources[0].limits.snapshots: -1 is less than one"},
		{"no window", "size: 4GiB", "size: 64MiB", "staging[0].size: 64MiB is less than one window of 512MiB"},
		{"no window for each", "stages:", strings.Repeat("  - {name: x, kind: images, path: machines}\n", 8) + "stages:",
			"staging[0].size: 4GiB is shared by 9 sources, and 4608MiB, a window for each, is the least"},
		{"staging is a file", "share: staging", "share: vault/file", ":5: staging[0].share: "},
		{"two shares", "size: 4GiB}", "size: 4GiB}\n  - {share: other}", "staging[1]: one share serves all sources"},
		{"small reserve", "vault:", "sealed: {reserve: 1MiB}\nvault:", "sealed.reserve: 1MiB is too small"},
		{"keys in a file", "stages:", "keys: {dir: vault/file}\nstages:", "keys.dir: "},
		{"grace", "region: eu-1", "region: eu-1\ngrace: 10ms", ":3: grace: 10ms is too short"},
		{"workers", "stages:", "limits: {workers: -1}\nstages:", "limits.workers: -1 is below zero"},
		{"two of one name", "name: b", "name: a", `vault.targets[1].name: "a" is there twice`},
		{"kind", "kind: images", "kind: floppy", `sources[0].kind: "floppy" is not known; there are: images, vsphere, synthetic`},
		{"no folder", "path: machines", "path: nowhere", `sources[0].path: stat`},
		{"size", "4GiB", "4GB", `:5: staging[0].size: "4GB" is not a size`},
		{"small", "size: 4GiB", "size: 4GiB, window: 1MiB", "window: 1MiB is too small"},
		{"key file", "stages:", "keys: {passphrase_file: nokey}\nstages:", "keys.passphrase_file: stat"},
		{"ledger's password", "stages:", "ledger: {password_file: nofile}\nstages:", "ledger.password_file: stat"},
		{"certificate", "stages:", "kafka: {tls: {ca_file: nofile}}\nstages:", "kafka.tls.ca_file: stat"},
		{"kafka's password", "stages:", "kafka: {sasl: {user: u, password_file: vault}}\nstages:", "is a folder, not a file"},
		{"grid", "shards:", "grid: 48KiB\n  shards:", "vault.grid: 48KiB is no power of two"},
		{"compression", "shards:", "compression: rar\n  shards:", `"rar" is not one of`},
		{"endpoint", "stages:", "traces: {endpoint: 'localhost:4318'}\nstages:", `:13: traces.endpoint: "localhost:4318" is no URL`},
		{"share", "stages:", "traces: {share: 1.5}\nstages:", `traces.share: 1.5 is no share`},
		{"traces", "stages:", "traces: {endpint: x}\nstages:", `unknown field "endpint"`},
		{"not yaml", "region: eu-1", "region: [", "holdfast.yaml:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(write(t, strings.Replace(good, c.old, c.new, 1)))
			var bad Findings
			if !errors.As(err, &bad) {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// vcenter is the source of the good file, as a vCenter.
const vcenter = `  - name: vc
    kind: vsphere
    url: https://vcenter.example.org
    user: holdfast@vsphere.local
    password_file: secret
`

func withVCenter(old, new string) string {
	const images = "  - {name: kvm, kind: images, path: machines, every: 1d}\n"
	return strings.Replace(good, images, strings.Replace(vcenter, old, new, 1), 1)
}

func TestVCenterDefaults(t *testing.T) {
	path := write(t, withVCenter("", ""))
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Sources[0]
	if s.Limits != (SourceLimits{Snapshots: 32, PerHost: 8, PerDatastore: 4, Connections: 16}) || s.Transport != "auto" || s.CheckEvery() != 50 ||
		s.PasswordFile != filepath.Join(filepath.Dir(path), "secret") {
		t.Errorf("got %+v", s)
	}
	c, err = Load(write(t, withVCenter("user:", "check_one_in: 0\n    limits: {per_datastore: 2}\n    user:")))
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Sources[0]; s.CheckEvery() != 0 || s.Limits.PerDatastore != 2 || s.Limits.PerHost != 8 {
		t.Errorf("what is said is not kept: %+v", s)
	}
	c, err = Load(write(t, good))
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Sources[0]; s.Limits != (SourceLimits{Snapshots: 4}) || s.CheckEvery() != 0 {
		t.Errorf("an images source has %+v", s)
	}
}

// Each line breaks a vCenter's section once.
func TestBadVCenterIsNamed(t *testing.T) {
	thumb := strings.TrimSuffix(strings.Repeat("AB:", 32), ":")
	for _, c := range []struct{ name, old, new, want string }{
		{"no password file", "file: secret", "file: nowhere", `:16: sources[0].password_file: open `},
		{"empty password", "file: secret", "file: empty", "sources[0].password_file: "},
		{"no password", "    password_file: secret\n", "", `sources[0].password_file: is missing`},
		{"no user", "    user: holdfast@vsphere.local\n", "", "sources[0].user: is missing"},
		{"both", "user:", "thumbprint: " + thumb + "\n    ca_file: secret\n    user:", "sources[0].ca_file: stands beside a thumbprint"},
		{"thumbprint", "user:", "thumbprint: AB:CD\n    user:", `sources[0].thumbprint: "AB:CD" is no SHA-256`},
		{"no ca", "user:", "ca_file: nowhere\n    user:", "sources[0].ca_file: open"},
		{"ca is none", "user:", "ca_file: secret\n    user:", "holds no certificate in PEM"},
		{"no url", "    url: https://vcenter.example.org\n", "", "sources[0].url: is missing"},
		{"http", "https://", "http://", `sources[0].url: "http://vcenter.example.org" is not https://host`},
		{"user in url", "https://", "https://a:b@", "sources[0].url: holds a user"},
		{"odd url", "https://", "https://a:geheim@%zz", "sources[0].url: is no URL: invalid"},
		{"path in url", "org", "org/ui", "says more than https://host:port"},
		{"path", "user:", "path: machines\n    user:", "sources[0].path: is not of a source of kind vsphere"},
		{"transport", "user:", "transport: san\n    user:", `"san" is not one of auto, nfc, datastore`},
		{"check", "user:", "check_one_in: -1\n    user:", "sources[0].check_one_in: -1 is not 0"},
		{"limit", "user:", "limits: {per_host: -1}\n    user:", "sources[0].limits.per_host: -1 is less than one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(write(t, withVCenter(c.old, c.new)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "geheim") {
				t.Errorf("a secret is told: %v", err)
			}
		})
	}
	_, err := Load(write(t, strings.Replace(good, "every: 1d", "url: https://x", 1)))
	if err == nil || !strings.Contains(err.Error(), "sources[0].url: is not of a source of kind images") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("vault: {targets: [{}]}"))
	f.Add([]byte(withBucket("", "")))
	f.Fuzz(func(t *testing.T, b []byte) { Parse("x.yaml", b) })
}
