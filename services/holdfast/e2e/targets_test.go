package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/blob/s3/s3test"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

// mixed is a house whose vault, 4+2, lies in two folders and four buckets, each of
// a server of its own.
type mixed struct {
	*under
	folders [2]string
	servers [4]*s3test.Server
}

func mix(t *testing.T, machines map[string]map[string][]byte) *mixed {
	m := &mixed{under: lay(t, machines)}
	text := fmt.Sprintf("data: .\nstaging: [{share: staging, size: 1GiB, window: 256MiB}]\nkeys: {dir: keys, passphrase_file: keys/passphrase}\n"+
		"restore: {roots: [restored]}\nsources: [{name: images, kind: images, path: %q}]\nvault:\n  shards: {k: 4, m: 2}\n  targets:\n", m.images)
	for i := range m.folders {
		m.folders[i] = t.TempDir()
		text += fmt.Sprintf("    - {name: folder%d, kind: file, path: %q}\n", i, m.folders[i])
	}
	for i := range m.servers {
		s := s3test.Start(t, t.TempDir())
		m.servers[i] = s
		text += fmt.Sprintf("    - {name: bucket%d, kind: s3, url: %q, bucket: %s, prefix: eu-1, access_key_file: %q, secret_key_file: %q}\n",
			i, s.URL, s3test.Bucket, s.AccessKey, s.SecretKey)
	}
	m.must(os.MkdirAll(m.data, 0o700))
	m.must(os.WriteFile(filepath.Join(m.data, "holdfast.yaml"), []byte(text), 0o600))
	m.under.up(up.Options{Blind: true})
	m.listed(len(machines))
	return m
}

// completes wants a backup of one machine, on at least so many targets.
func (m *mixed) completes(machine string, least, most uint32) {
	m.t.Helper()
	ends := m.ends(machine)
	if len(ends) != 1 || ends[0].Status != "completed" || ends[0].Redundancy < least || ends[0].Redundancy > most {
		m.t.Fatalf("%s; its redundancy: want %d to %d: %+v", names(ends), least, most, ends)
	}
}

// whole waits until every shard of a machine's point is there: completed says what
// was durable then, and the last target may be on its way.
func (m *mixed) whole(machine string) {
	m.t.Helper()
	m.until("all shards of "+machine, func() bool {
		_, errs, _ := m.holdfast("vault", "--at", filepath.Join(m.data, "holdfast.yaml"), "verify", machine)
		_, said, _ := strings.Cut(errs, "map packs: ")
		var there, all int
		n, _ := fmt.Sscanf(said, "%d of %d shards", &there, &all)
		return n == 2 && there == all
	})
}

// comesBack restores machines through the service and cold, from what is left.
func (m *mixed) comesBack(round string, at []string, machines map[string]map[string][]byte, all ...string) {
	m.t.Helper()
	vault := []string{"vault"}
	for _, a := range at {
		vault = append(vault, "--at", a)
	}
	for _, name := range all {
		files := machines[name]
		warm, cold := filepath.Join(m.data, "restored", round, name), filepath.Join(m.t.TempDir(), name)
		m.done("restore", name, "--to", warm)
		m.done(append(vault, "restore", name, "--to", cold)...)
		for file, want := range files {
			m.same(filepath.Join(warm, file), want)
			m.same(filepath.Join(cold, file), want)
		}
	}
}

// Goal: any two of six targets may die, folders and buckets alike, at any moment,
// and no backup is lost or wrong. Method: a server is killed in the middle of a
// backup and stays down for all of another; it comes back and is written to again.
// Then a folder and a bucket are gone for good, then two buckets. Each time every
// machine comes back, through the service and with nothing but the vault and the
// key: but for those that said 5 of 6, who bear the one that missed them and one more.
func TestAnyTwoTargetsDie(t *testing.T) {
	t.Parallel()
	machines := map[string]map[string][]byte{}
	for i, size := range []int{8 << 20, 48 << 20, 8 << 20, 8 << 20} {
		machines[fmt.Sprint("web-", i)] = map[string][]byte{"disk0.raw": noise(byte(i), size), "settings": []byte(fmt.Sprint("of ", i))}
	}
	m := mix(t, machines)
	m.completes("web-0", 5, 6)
	m.whole("web-0")

	job := strings.TrimSpace(m.done("backup", "web-1"))
	shards := filepath.Join(m.servers[0].Data(), s3test.Bucket, "eu-1", "packs", "*", "*", "*")
	before, _ := filepath.Glob(shards)
	m.until("a shard of it to land where it will be cut off", func() bool {
		now, _ := filepath.Glob(shards)
		return len(now) > len(before)
	})
	from := m.logged()
	m.servers[0].Kill()
	m.completed(job)
	m.completes("web-2", 5, 5)
	m.says(from, "target is down", "bucket0", "connection refused")
	if out := m.done("target", "list"); strings.Count(out, "of vault local") != 5 || !strings.Contains(out, "connection refused") {
		t.Errorf("with one of six down: %s", out)
	}

	from = m.logged()
	m.servers[0].Again()
	m.says(from, "target is up", "bucket0")
	m.completes("web-3", 5, 6)
	m.whole("web-3") // the one that is back has shards again

	away := m.folders[0] + ".away"
	m.must(os.Rename(m.folders[0], away))
	m.servers[1].Kill()
	m.must(os.RemoveAll(m.servers[1].Data()))
	m.comesBack("one-of-each", []string{filepath.Join(m.data, "holdfast.yaml")}, machines, "web-0", "web-3")

	m.must(os.RemoveAll(m.folders[0])) // which a reader may have made again
	m.must(os.Rename(away, m.folders[0]))
	m.servers[0].Kill()
	m.must(os.RemoveAll(m.servers[0].Data()))
	at := m.folders[:]
	for _, s := range m.servers {
		at = append(at, fmt.Sprintf("s3://%s/eu-1?url=%s&access_key_file=%s&secret_key_file=%s", s3test.Bucket, s.URL, s.AccessKey, s.SecretKey))
	}
	m.comesBack("two-buckets", at, machines, "web-0", "web-1", "web-2", "web-3")
}
