package kafka

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/libs/stage/kafkatest"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/services/holdfast/cli"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

// patience is how long a test waits before it calls the house stuck: a stage process
// that is killed is missed after 10 s, and a backup that loses its attempt begins
// the next after 5 s or more.
const patience = 3 * time.Minute

// What each guess at a passphrase costs is for who attacks a vault, not for tests.
func init() { vault.WrapCostDefault = vault.WrapCost{Passes: 1, MemoryKiB: 1 << 10, Threads: 1} }

// region is a house whose stages are processes, and its cluster.
type region struct {
	*testing.T
	brokers *kafkatest.Cluster
	name    string
	dir     string // of configuration, staging and vault
	images  string
	config  string // of the command line
	binary  string
	kafka   *client.Client
}

// newRegion lays the folders of a region. Nothing runs, and it has no topics.
func newRegion(t *testing.T, c *kafkatest.Cluster, binary, name string) *region {
	t.Helper()
	dir := t.TempDir()
	r := &region{T: t, brokers: c, name: name, dir: filepath.Join(dir, "house"), images: filepath.Join(dir, "machines"), binary: binary}
	r.must(os.MkdirAll(r.images, 0o755))
	_, err := up.Configure(up.Options{Data: r.dir, Images: []string{r.images}, K: 2, M: 1})
	r.must(err)
	r.config = filepath.Join(r.dir, "holdfast.yaml")
	text, err := os.ReadFile(r.config)
	r.must(err)
	snapshots := filepath.Join(dir, "snapshots")
	r.must(os.Mkdir(snapshots, 0o755))
	text = bytes.Replace(text, []byte("region: local"), fmt.Appendf(nil, "region: %s\nkafka: {brokers: [\"%s\"]}", name, strings.Join(c.Seeds(), "\", \"")), 1)
	text = bytes.Replace(text, []byte("kind: images,"), fmt.Appendf(nil, "kind: images, pre: 'touch %[1]s/$HOLDFAST_SNAPSHOT', post: 'rm -f %[1]s/$HOLDFAST_SNAPSHOT',", snapshots), 1)
	r.must(os.WriteFile(r.config, text, 0o600))
	if r.kafka, err = client.Open(name, stage.Connect(c.Seeds()...)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.kafka.Close)
	return r
}

// born makes keys and vault.
func (r *region) born() {
	r.Helper()
	c, err := up.Configure(up.Options{Data: r.dir})
	r.must(err)
	r.must(up.FirstKeys(r.Context(), c, io.Discard))
}

func (r *region) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// until waits for f to say nothing.
func (r *region) until(what string, f func() string) {
	r.Helper()
	say := "nothing"
	for end := time.Now().Add(patience); say != ""; time.Sleep(100 * time.Millisecond) {
		if say = f(); say != "" && time.Now().After(end) {
			r.Fatalf("waited %s for %s: %s", patience, what, say)
		}
	}
}

// holdfast is the command line.
func (r *region) holdfast(args ...string) (out, errs string, code int) {
	var o, e bytes.Buffer
	code = cli.Main(append(args, "--data", r.dir), strings.NewReader(""), &o, &e)
	return o.String(), e.String(), code
}

// done wants a command to succeed.
func (r *region) done(args ...string) string {
	r.Helper()
	out, errs, code := r.holdfast(args...)
	if code != 0 {
		r.Fatalf("holdfast %v: exit %d: %s%s", args, code, out, errs)
	}
	return out
}

func (r *region) disk(machine string) string { return filepath.Join(r.images, machine, "disk0.raw") }

func (r *region) write(machine string, b []byte) {
	r.Helper()
	r.must(os.MkdirAll(filepath.Dir(r.disk(machine)), 0o755))
	r.must(os.WriteFile(r.disk(machine), b, 0o644))
}

// noise is n bytes that nothing compresses.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	if _, err := io.ReadFull(rng, b); err != nil {
		panic(err)
	}
	return b
}

// nap ends early with ctx.
func nap(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
