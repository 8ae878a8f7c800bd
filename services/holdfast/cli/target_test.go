package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/blob/s3/s3test"
)

// Goal: an operator sees what his targets are and whether they keep what backups
// rest on. Method: two folders on one device, one that is not mounted, a bucket and
// one that is not there; then a vault on the good ones, listed.
func TestTargets(t *testing.T) {
	server := s3test.Start(t, t.TempDir())
	dir := t.TempDir()
	config := filepath.Join(dir, "holdfast.yaml")
	bucket := func(name, bucket string) string {
		return fmt.Sprintf("    - {name: %s, kind: s3, url: %q, bucket: %s, access_key_file: %q, secret_key_file: %q}\n", name, server.URL, bucket, server.AccessKey, server.SecretKey)
	}
	good := "    - {name: a, kind: file, path: a}\n    - {name: b, kind: file, path: b}\n" + bucket("c", s3test.Bucket)
	write := func(text string) {
		if err := os.WriteFile(config, []byte("keys: {dir: keys, passphrase_file: keys/passphrase}\nvault:\n  shards: {k: 2, m: 1}\n  targets:\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(good + bucket("d", "nowhere") + "    - {name: e, kind: file, path: nowhere}\n")
	out, _, code := command("target", "probe", "--config", config, "-o", "json")
	var said struct {
		Targets []struct {
			Target   string
			OK       bool
			Findings []struct{ Check, State, Says, Setting string }
		}
	}
	if err := json.Unmarshal([]byte(out), &said); err != nil || code != exitFailed || len(said.Targets) != 5 {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	for i, want := range []struct {
		ok   bool
		says string
	}{{true, " holds b too: they are lost together"}, {true, "make the folder a target"}, {true, "over http, whoever is on the way"}, {false, "NoSuchBucket"}, {false, "is the share mounted?"}} {
		if all := fmt.Sprint(said.Targets[i].Findings); said.Targets[i].OK != want.ok || !strings.Contains(all, want.says) {
			t.Errorf("target %s: ok %v, %s; want %q", said.Targets[i].Target, said.Targets[i].OK, all, want.says)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("the probe made the folder of a share that is not mounted")
	}
	out, _, code = command("target", "probe", "a", "--config", config)
	if code != 0 || !strings.Contains(out, "a\trace\tok\t") || strings.Contains(out, "\nb\t") {
		t.Errorf("probe of one: exit %d: %s", code, out)
	}
	if _, errs, code := command("target", "probe", "z", "--config", config); code != exitUsage || !strings.Contains(errs, `no target "z"`) {
		t.Errorf("probe of none: exit %d: %s", code, errs)
	}

	write(good)
	if _, errs, code := command("init", "--config", config); code != 0 {
		t.Fatalf("init: exit %d: %s", code, errs)
	}
	server.Kill()
	if err := os.RemoveAll(filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	out, _, _ = command("target", "list", "--config", config)
	for _, want := range []string{"a\tfile\t" + dir + "/a\t", "\ttarget a of vault local ", "b\tfile\t" + dir + "/b\t-\tno vault\n", "c\ts3\t" + server.URL + "/vault/\t-\t", "connection refused"} {
		if !strings.Contains(out, want) {
			t.Errorf("list without %q: %s", want, out)
		}
	}
}
