package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/services/holdfast/house"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

// Every stage is a process of its own, against the broker as another; midway a
// second process of some stages takes rooms over, and the first ones are killed.
// Then, as an upgrade does, each process is stopped and another begun in its place
// while a machine is backed up. What comes back must be what one process gives.
func TestTenProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := noise(5, 24<<20)
	u := &under{t: t, data: filepath.Join(dir, "data"), images: filepath.Join(dir, "machines")}
	u.write("web-01", "disk0.raw", disk)
	u.write("web-02", "disk0.raw", append(bytes.Clone(disk[:16<<20]), noise(6, 8<<20)...))
	u.write("web-03", "disk0.raw", noise(7, 96<<20))
	config := filepath.Join(u.data, "holdfast.yaml")
	c, err := up.Configure(up.Options{Data: u.data, Images: []string{u.images}, K: 2, M: 1})
	u.must(err)
	u.must(up.FirstKeys(t.Context(), c, os.Stderr))
	text, err := os.ReadFile(config)
	u.must(err)
	port := freePort(t)
	kafka := fmt.Sprintf("kafka: {brokers: [\"127.0.0.1:%d\"]}\n", port)
	u.must(os.WriteFile(config, append([]byte(kafka), text...), 0o600))
	second := filepath.Join(u.data, "second.yaml") // another process of a stage keeps its own index
	u.must(os.WriteFile(second, bytes.Replace(append([]byte(kafka), text...), []byte("data: ."), []byte("data: second"), 1), 0o600))

	run := func(config, stage string) *process {
		return u.process(filepath.Join(dir, stage+".log"), "run", "--config", config, "--stages", stage)
	}
	run(config, "broker")
	u.until("the broker", func() bool {
		conn, err := net.DialTimeout("tcp", fmt.Sprint("127.0.0.1:", port), time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil && strings.Count(u.done2("topics"), "\n") > 0
	})
	first := map[string]*process{}
	for _, s := range house.Catalogue {
		if s.Name != "recorder" { // this house is blind
			first[s.Name] = run(config, s.Name)
		}
	}
	u.until("the source to be listed", func() bool {
		out, _, code := u.holdfast("machines")
		return code == 0 && strings.Count(out, "\n") >= 3
	})
	if ends := u.ends("web-01"); len(ends) != 1 || ends[0].Status != "completed" || ends[0].Bytes.Fresh != uint64(len(disk)) {
		t.Fatal(names(ends))
	}
	job := strings.TrimSpace(u.done("backup", "web-02"))
	for _, stage := range []string{"chunker", "deduper", "compressor-encryptor", "uploader", "auditor"} {
		next := run(second, stage)
		first[stage].Process.Kill()
		first[stage] = next
	}
	u.until("the backup whose processes were killed", func() bool { return strings.Contains(u.done("jobs", job), "\tcompleted\t") })
	job = strings.TrimSpace(u.done("backup", "web-03"))
	for _, s := range house.Catalogue {
		if old := first[s.Name]; old != nil {
			old.drained()
			run(second, s.Name)
		}
	}
	u.until("the backup whose processes were replaced", func() bool { return strings.Contains(u.done("jobs", job), "\tcompleted\t") })
	for _, name := range []string{"web-02", "web-03"} {
		to := t.TempDir()
		u.done("vault", "--at", u.data+"/vault", "restore", name, "--to", to)
		want, err := os.ReadFile(filepath.Join(u.images, name, "disk0.raw"))
		u.must(err)
		u.same(to+"/disk0.raw", want)
	}
}

// done2 is what a command printed, whatever its exit.
func (u *under) done2(args ...string) string {
	out, _, _ := u.holdfast(args...)
	return out
}

// freePort is one that nothing listens on and that no kernel gives to who asks for
// any: those begin at 32768 (net.ipv4.ip_local_port_range).
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20_000 + rand.IntN(10_000)
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free between 20000 and 30000")
	return 0
}
