package s3

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/holdfast-backup/holdfast/libs/blob/probe"
	"github.com/holdfast-backup/holdfast/libs/blob/s3/s3test"
)

// found wants a finding whose words are these.
func found(t *testing.T, all probe.Findings, check string, state probe.State, words, setting string) {
	t.Helper()
	if !slices.ContainsFunc(all, func(f probe.Finding) bool {
		return f.Check == check && f.State == state && strings.Contains(f.Says, words) && f.Setting == setting
	}) {
		t.Errorf("no finding %s %s %q %q in %+v", check, state, words, setting, all)
	}
}

func files(t *testing.T, dir string) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	}))
	return all
}

// addOnly is the policy of a credential that may add and read, and no more.
const addOnly = `{"Version":"2012-10-17","Statement":[
 {"Effect":"Allow","Principal":{"AWS":["adder"]},"Action":["s3:PutObject","s3:GetObject"],"Resource":"arn:aws:s3:::vault/*"},
 {"Effect":"Allow","Principal":{"AWS":["adder"]},"Action":["s3:ListBucket"],"Resource":"arn:aws:s3:::vault"}]}`

// A good server is found good, by a credential with all rights, which leaves
// nothing, and by one that may only add, which says what it leaves.
func TestProbeOfAGoodServer(t *testing.T) {
	server := s3test.Start(t, t.TempDir())
	all := Probe(t.Context(), at(server, "p/"))
	for _, f := range all {
		if f.State == probe.Bad {
			t.Errorf("found bad: %+v", f)
		}
	}
	found(t, all, "dialect", probe.OK, "takes the dialect", "")
	found(t, all, "race", probe.OK, "one wins", "")
	found(t, all, "checksum", probe.OK, "BadDigest", "")
	found(t, all, "delete", probe.OK, "is gone", "")
	found(t, all, "clock", probe.OK, "within a second", "")
	found(t, all, "rights", probe.Note, "may delete", "")
	found(t, all, "versions", probe.OK, "keeps none", "")
	if left := files(t, filepath.Join(server.Data(), s3test.Bucket)); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	root := opened(t, at(server, ""))
	_, err := root.client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &root.o.Bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	must(t, err)
	found(t, Probe(t.Context(), at(server, "p/")), "versions", probe.Note, "keeps versions: what is deleted takes room", "")
	if left := append(files(t, filepath.Join(server.Data(), s3test.Bucket)), files(t, filepath.Join(server.Dir, "versions"))...); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}

	server.Admin("create-user", "-a", "adder", "-s", "adder-secret-1", "-r", "user")
	_, err = root.client.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &root.o.Bucket, Policy: new(addOnly)})
	must(t, err)
	o := at(server, "p/")
	o.AccessKeyFile, o.SecretKeyFile = filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "s")
	must(t, os.WriteFile(o.AccessKeyFile, []byte("adder"), 0o600))
	must(t, os.WriteFile(o.SecretKeyFile, []byte("adder-secret-1"), 0o600))
	all = Probe(t.Context(), o)
	found(t, all, "race", probe.OK, "one wins", "")
	found(t, all, "delete", probe.Note, "objects stay behind in probe/", "")
	found(t, all, "delete", probe.Note, "AccessDenied", "")
	found(t, all, "rights", probe.OK, "may not delete", "")
	if left := files(t, filepath.Join(server.Data(), s3test.Bucket)); len(left) == 0 {
		t.Error("nothing is left behind by who may not delete")
	}
	for _, wrong := range [][2]string{{o.SecretKeyFile, "SignatureDoesNotMatch"}, {o.AccessKeyFile, "InvalidAccessKeyId"}} {
		must(t, os.WriteFile(wrong[0], []byte("wrong"), 0o600))
		found(t, Probe(t.Context(), o), "dialect", probe.Bad, wrong[1], "")
	}
	o = at(server, "")
	o.Bucket = "nowhere"
	found(t, Probe(t.Context(), o), "dialect", probe.Bad, "NoSuchBucket", "")
	server.Kill()
	found(t, Probe(t.Context(), o), "dialect", probe.Bad, "connection refused", "")
}

// What stands before a server can make it need another dialect: the probe finds it,
// and goes on in it.
func TestProbeFindsTheDialect(t *testing.T) {
	server := s3test.Start(t, t.TempDir())
	behind := func(f func(w http.ResponseWriter, r *http.Request) (done bool)) Options {
		to, err := url.Parse(server.URL)
		must(t, err)
		proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // that which was signed
		}}
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !f(w, r) {
				proxy.ServeHTTP(w, r)
			}
		}))
		t.Cleanup(front.Close)
		o := at(server, "p/")
		o.URL = front.URL
		return o
	}
	all := Probe(t.Context(), behind(func(_ http.ResponseWriter, r *http.Request) bool {
		r.Header.Set("Accept-Encoding", "gzip")
		return false
	}))
	found(t, all, "dialect", probe.Bad, "SignatureDoesNotMatch", "dialect: {sign_accept_encoding: false}")
	found(t, all, "race", probe.OK, "one wins", "")
	all = Probe(t.Context(), behind(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Amz-Checksum-Crc32c") != "" {
			io.Copy(io.Discard, r.Body)
			answer(w, 501, "NotImplemented")
			return true
		}
		return false
	}))
	found(t, all, "dialect", probe.Bad, "NotImplemented", "dialect: {checksum: md5}")
	found(t, all, "checksum", probe.OK, "is refused", "")
	all = Probe(t.Context(), behind(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("If-None-Match") != "" {
			io.Copy(io.Discard, r.Body)
			answer(w, 501, "NotImplemented")
			return true
		}
		return false
	}))
	found(t, all, "dialect", probe.Bad, "NotImplemented", "dialect: {conditional: false}")
	if left := files(t, filepath.Join(server.Data(), s3test.Bucket)); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// yes is a server that says yes to all that a good one refuses.
type yes struct {
	objects map[string][]byte // all under scene
	ahead   time.Duration
	keeps   bool // what it refuses for its checksum
	races   bool // it refuses a second put, but not one at the same moment
}

func (y *yes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", time.Now().Add(y.ahead).UTC().Format(http.TimeFormat))
	key := strings.TrimPrefix(r.URL.Path, "/b/")
	b, there := y.objects[key]
	switch {
	case r.FormValue("list-type") == "2":
		var keys []string
		for k := range y.objects {
			if strings.HasPrefix(k, r.FormValue("prefix")) {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		io.WriteString(w, "<ListBucketResult>")
		for _, k := range keys {
			fmt.Fprintf(w, "<Contents><Key>%s</Key><Size>%d</Size></Contents>", k, len(y.objects[k]))
		}
		io.WriteString(w, "</ListBucketResult>")
	case r.Method == "PUT":
		body, _ := io.ReadAll(r.Body)
		if y.races && there && !strings.Contains(key, "race-") {
			answer(w, 412, "PreconditionFailed")
			return
		}
		if y.objects[key] = body; y.keeps && strings.Contains(key, "wrong-") {
			answer(w, 400, "BadDigest")
		}
	case r.Method == "DELETE":
		delete(y.objects, key)
		w.WriteHeader(204)
	case !there:
		answer(w, 404, "NoSuchKey")
	default:
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(b)))
	}
}

// What says yes to everything is found out.
func TestProbeOfAServerThatSaysYes(t *testing.T) {
	y := &yes{objects: map[string][]byte{}, ahead: time.Hour}
	o := scripted(t, false, y.ServeHTTP).o
	all := Probe(t.Context(), o)
	found(t, all, "conditional put", probe.Bad, "overwrote the first", "dialect: {conditional: false}")
	found(t, all, "checksum", probe.Bad, "was taken", "dialect: {checksum: none}")
	found(t, all, "clock", probe.Bad, "is 1h0m0s behind", "")
	calm()
	y.keeps = true
	found(t, Probe(t.Context(), o), "checksum", probe.Bad, "and kept", "dialect: {checksum: none}")
	calm()
	y.races = true
	all = Probe(t.Context(), o)
	found(t, all, "conditional put", probe.OK, "the first stays", "")
	found(t, all, "race", probe.Bad, "of 8 puts of one name at once 8 won", "dialect: {conditional: false}")
	o.Dialect = Dialect{Overwrites: true, Checksum: NoChecksum}
	all = Probe(t.Context(), o)
	for _, f := range all {
		if f.State == probe.Bad && f.Check != "clock" {
			t.Errorf("in the dialect that it needs: %+v", f)
		}
	}
	if calm(); len(y.objects) > 0 {
		t.Errorf("left behind: %d objects", len(y.objects))
	}
}
