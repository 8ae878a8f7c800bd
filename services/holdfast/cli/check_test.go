package cli

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

const right = `
region: eu-1
staging:
  - {share: staging}
vault:
  shards: {k: 1, m: 1}
  targets:
    - {name: a, kind: file, path: vault/a}
    - {name: b, kind: file, path: vault/b}
keys: {dir: keys, passphrase_file: passphrase}
sources:
  - {name: kvm, kind: images, path: machines}
stages:
  chunker: {}
`

func command(args ...string) (out, errs string, code int) {
	var o, e bytes.Buffer
	code = Main(args, strings.NewReader(""), &o, &e)
	return o.String(), e.String(), code
}

// laid is a folder with a configuration and what it names.
func laid(t *testing.T, text string) (file string) {
	t.Helper()
	dir := t.TempDir()
	for name, b := range map[string]string{"holdfast.yaml": text, "machines/vm/disk.raw": "x", "keys/vault.pub": "x", "passphrase": "x\n", "file": "x"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "holdfast.yaml")
}

func tree(t *testing.T, file string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Dir(file), func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Each line breaks the right file once: check names file, key and reason, makes
// nothing, and run, on the same file, refuses to start for the same reason.
func TestCheckNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"typo", "region:", "regoin:", `:2: unknown field "regoin"`},
		{"typo below", "share:", "shrae:", `:4: unknown field "shrae"`},
		{"typo in a stage", "chunker: {}", "chunker: {sise: 3}", `:14: stages.chunker: unknown field "sise"`},
		{"typo deep in a stage", "chunker: {}", "chunker:\n    # a comment\n    sise: 3", `:16: stages.chunker: unknown field "sise"`},
		{"typo of a stage", "chunker: {}", "chunkr: {}", `:14: stages.chunkr: there is no such stage`},
		{"a word for a number", "chunker: {}", "restorer: {at_once: many}", `:14: stages.restorer: `},
		{"a time that is none", "chunker: {}", "restorer: {keep: soon}", `:14: stages.restorer.keep: "soon" is not a duration`},
		{"a list for a name", "region: eu-1", "region: [eu-1]", `:2: `},
		{"a bad share", "share: staging", "share: file", `:4: staging[0].share: `},
		{"a secret that is missing", "region: eu-1", "region: eu-1\nledger: {addr: 'x:1', password_file: nopass}", `:3: ledger.password_file: stat `},
		{"a secret that is a folder", "passphrase_file: passphrase", "passphrase_file: machines", `:10: keys.passphrase_file: `},
		{"two of one name", "name: b", "name: a", `:9: vault.targets[1].name: "a" is there twice`},
		{"key file", "passphrase_file: passphrase", "passphrase_file: nokey", `:10: keys.passphrase_file: stat `},
		{"folder of keys", "dir: keys", "dir: file", `:10: keys.dir: `},
		{"target is a file", "vault/b", "file", `:9: vault.targets[1].path: `},
		{"two targets, one folder", "vault/b", "vault/../vault/a", `is the folder of target a too`},
		{"k+m", "k: 1", "k: 2", `:8: vault.targets: there are 2, and k+m is 3`},
		{"source", "path: machines", "path: nowhere", `:12: sources[0].path: stat `},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := laid(t, "kafka: {brokers: [\"127.0.0.1:1\"]}"+strings.Replace(right, c.old, c.new, 1))
			before := tree(t, file)
			out, _, code := command("check", "--config", file)
			if code != exitFailed || !strings.Contains(out, file) || !strings.Contains(out, c.want) {
				t.Errorf("exit %d, %s; want %s", code, out, c.want)
			}
			if after := tree(t, file); len(after) != len(before) {
				t.Errorf("check made something: %v", after)
			}
			if _, errs, code := command("run", "--config", file); code != exitUsage || !strings.Contains(errs, c.want) || !strings.Contains(errs, file) {
				t.Errorf("run: exit %d, %s; want %s", code, errs, c.want)
			}
			var said struct {
				Findings []struct{ File, Message string }
			}
			out, _, _ = command("check", "--config", file, "-o", "json")
			if err := json.Unmarshal([]byte(out), &said); err != nil || len(said.Findings) == 0 || said.Findings[0].File != file {
				t.Errorf("in JSON: %v, %s", err, out)
			}
		})
	}
	if out, errs, code := command("check", "--config", laid(t, right)); code != 0 || out != "" || !strings.Contains(errs, "is right") {
		t.Errorf("what is right: exit %d, %s%s", code, out, errs)
	}
	load := strings.Replace(right, "kind: images, path: machines", "kind: synthetic, synthetic: {machines: 3}", 1)
	if _, errs, code := command("check", "--config", laid(t, load)); code != 0 || !strings.Contains(errs, ":12: sources[0].kind: a synthetic source is a tool for load tests") {
		t.Errorf("a load tool: exit %d, %s", code, errs)
	}
	if _, errs, code := command("check", "--config", "/nowhere/holdfast.yaml"); code != exitFailed || !strings.Contains(errs, "/nowhere/holdfast.yaml: no such file") {
		t.Errorf("no configuration: exit %d, %s", code, errs)
	}
	if _, errs, code := command("run", "--config", "/nowhere/holdfast.yaml"); code != exitUsage || !strings.Contains(errs, "/nowhere/holdfast.yaml: no such file") {
		t.Errorf("run without a configuration: exit %d, %s", code, errs)
	}
	file := laid(t, right)
	if _, errs, code := command("run", "--config", file); code != exitUsage || !strings.Contains(errs, file+": kafka.brokers: none is configured") {
		t.Errorf("run without brokers: exit %d, %s", code, errs)
	}
	for _, name := range house.Names() {
		if out, _, code := command("check", "--config", laid(t, strings.Replace(right, "chunker", name, 1))); code != 0 {
			t.Errorf("the section of %s: exit %d, %s", name, code, out)
		}
	}
}
