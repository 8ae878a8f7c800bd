package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/blob/file"
	"github.com/holdfast-backup/holdfast/libs/blob/s3"
	"github.com/holdfast-backup/holdfast/libs/blob/s3/s3test"
	"github.com/holdfast-backup/holdfast/libs/shard"
)

// Goal: what a bucket can do to a writer is told as it is and stops no pack.
// Method: 2+4 on two folders and four servers. One is full, one refuses the key and
// one hangs, all at once: packs land on the other three. Then each is cured, and the
// next pack is on all six.
func TestBucketsThatFail(t *testing.T) {
	var servers []*s3test.Server
	var targets []Target
	r := &rig{t: t}
	for i := range 2 {
		s, err := file.Open(t.TempDir())
		r.must(err)
		targets = append(targets, Target{fmt.Sprint("folder", i), s})
	}
	small := s3test.Tmpfs(t, 12<<20)
	var refusing atomic.Bool
	for i, dir := range []string{small, t.TempDir(), t.TempDir(), t.TempDir()} {
		s := s3test.Start(t, dir)
		address := s.URL
		if i == 1 {
			address = guarded(t, s.URL, &refusing)
		}
		store, err := s3.Open(s3.Options{URL: address, Bucket: s3test.Bucket, AccessKeyFile: s.AccessKey, SecretKeyFile: s.SecretKey})
		r.must(err)
		servers, targets = append(servers, s), append(targets, Target{fmt.Sprint("bucket", i), store})
	}
	r.must(Init(t.Context(), targets, rigSettings(2, 4), nil))
	r.targets = targets
	r.open()
	w, err := NewWriter(r.v, WriterOptions{Region: "local", Log: slog.New(slog.DiscardHandler)})
	r.must(err)
	t.Cleanup(w.Close)
	stuffing := filepath.Join(small, "stuffing")
	r.must(os.WriteFile(stuffing, make([]byte, 10<<20), 0o600))
	refusing.Store(true)
	resume := servers[2].Pause()

	packs := map[PackID][]byte{}
	pack := func() *Landed {
		t.Helper()
		id, data := NewPackID(1), noise(byte(len(packs)), 8<<20)
		packs[id] = data
		landed, err := w.Pack(t.Context(), id, false, data)
		r.must(err)
		return landed
	}
	first := pack()
	for range 2 {
		pack()
	}
	waitFor(t, "both to be down", func() bool { return !w.Turns()[2].Up && !w.Turns()[3].Up })
	if why := w.Turns()[2].Why; !strings.Contains(why, blob.ErrFull.Error()) {
		t.Errorf("the full one is down because: %s", why)
	}
	if why := w.Turns()[3].Why; !strings.Contains(why, "AccessDenied") {
		t.Errorf("the one that refuses is down because: %s", why)
	}
	if n := first.Redundancy(); n < 3 || n > 4 || !w.Turns()[0].Quorum {
		t.Errorf("a pack landed on %d of the 3 that take it", n)
	}
	for id := range packs {
		if _, err := targets[2].Store.Get(t.Context(), ShardKey(id, false, 2, 0), 0, -1); !errors.Is(err, blob.ErrNotExist) {
			t.Errorf("a shard on the full one: %v", err)
		}
	}
	r.must(os.Remove(stuffing))
	refusing.Store(false)
	resume()
	waitFor(t, "both to be up", func() bool { return w.Turns()[2].Up && w.Turns()[3].Up })
	last := pack()
	<-last.Done()
	if last.Redundancy() != 6 {
		t.Errorf("all are well, and a pack is on %d of 6: %+v", last.Redundancy(), w.Turns())
	}
	<-first.Done()
	if first.Redundancy() < 4 {
		t.Errorf("the one that hung goes on, and the pack that waited for it is on %d", first.Redundancy())
	}
	for id, data := range packs { // of a folder and the bucket that always took it
		shards := make([][]byte, 6)
		for _, n := range []int{1, 5} {
			b, err := targets[n].Store.Get(t.Context(), ShardKey(id, false, uint8(n), 0), 0, -1)
			r.must(err)
			shards[n] = b[shard.HeaderBytes:]
		}
		r.must(w.code.Rebuild(shards))
		if got, err := w.code.Join(nil, shards, len(data)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("pack %s came back as other bytes: %v", id, err)
		}
	}
}

// guarded is an address where puts of packs are refused while refusing is true.
func guarded(t *testing.T, server string, refusing *atomic.Bool) (address string) {
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // that which was signed
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refusing.Load() && r.Method == http.MethodPut {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	return front.URL
}

func waitFor(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited two minutes for ", what)
		}
	}
}
