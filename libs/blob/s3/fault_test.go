package s3

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// scene is held by a scripted server while it answers, so that a test may say what
// it is to do next, and look at what it saw.
var scene sync.Mutex

func calm() { scene.Lock(); defer scene.Unlock() }

// inTurn is a connection to a scripted server.
type inTurn struct{ next http.RoundTripper }

func (i inTurn) RoundTrip(r *http.Request) (*http.Response, error) {
	calm()
	defer calm()
	return i.next.RoundTrip(r)
}

// scripted is a store on a server that does as f does.
func scripted(t *testing.T, secure bool, f http.HandlerFunc) *Store {
	t.Helper()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	o := Options{Bucket: "b", AccessKeyFile: file("a", "key\n"), SecretKeyFile: file("s", "secret\n")}
	var srv *httptest.Server
	script := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scene.Lock()
		defer scene.Unlock()
		f(w, r)
	})
	if secure {
		srv = httptest.NewTLSServer(script)
		o.CAFile = file("ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	} else {
		srv = httptest.NewServer(script)
	}
	t.Cleanup(srv.Close)
	o.URL = srv.URL
	s := opened(t, o)
	s.skew.next = inTurn{s.skew.next}
	return s
}

func answer(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	if code == "-" {
		io.WriteString(w, "<html>proxy</html>")
	} else if code != "" {
		fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>m</Message></Error>`, code)
	}
}

func cut(w http.ResponseWriter) {
	if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
		c.Close()
	}
}

// Each answer has one meaning. What may be the weather is never permanent, or
// something is lost that a retry would have had; what is not is never retried.
// And each costs one request: the SDK tries nothing again.
func TestAnswers(t *testing.T) {
	var status int
	var code string
	tries := 0
	s := scripted(t, false, func(w http.ResponseWriter, r *http.Request) {
		tries++
		if io.Copy(io.Discard, r.Body); status == 0 {
			cut(w)
			return
		}
		answer(w, status, code)
	})
	for _, c := range []struct {
		status int
		code   string
		want   error // nil: weather
	}{
		{503, "SlowDown", blob.ErrBusy}, {503, "SlowDownWrite", blob.ErrBusy}, {429, "-", blob.ErrBusy}, {400, "RequestLimitExceeded", blob.ErrBusy},
		{500, "InternalError", nil}, {502, "-", nil}, {503, "ServiceUnavailable", nil}, {503, "-", nil}, {504, "", nil},
		{400, "RequestTimeout", nil}, {400, "BadDigest", nil}, {409, "ConditionalRequestConflict", nil}, {409, "OperationAborted", nil}, {0, "", nil},
		{404, "NoSuchKey", blob.ErrNotExist}, {404, "-", nil}, {404, "NoSuchBucket", blob.ErrDenied},
		{403, "AccessDenied", blob.ErrDenied}, {403, "-", blob.ErrDenied}, {403, "SignatureDoesNotMatch", blob.ErrDenied}, {403, "RequestTimeTooSkewed", blob.ErrDenied},
		{301, "PermanentRedirect", blob.ErrDenied}, {400, "AuthorizationHeaderMalformed", blob.ErrDenied}, {501, "NotImplemented", blob.ErrDenied},
		{507, "InsufficientStorage", blob.ErrFull}, {507, "-", blob.ErrFull}, {507, "Bucketful", blob.ErrFull}, {403, "QuotaExceeded", blob.ErrFull},
	} {
		status, code, tries, s.pace = c.status, c.code, 0, newPace(RateDefault)
		_, err := s.Get(t.Context(), "k", 0, 10)
		if c.status == 507 || c.code == "QuotaExceeded" || c.status == 409 || c.status == 0 {
			tries = 0
			err = s.Put(t.Context(), "k", []byte("body"))
		}
		if err == nil || c.want != nil && !errors.Is(err, c.want) || c.want == nil && (blob.Permanent(err) || errors.Is(err, blob.ErrBusy)) || tries != 1 {
			t.Errorf("%d %s, after %d tries: %v; want %v", c.status, c.code, tries, err, c.want)
		}
		if c.code != "-" && c.code != "" && !strings.Contains(err.Error(), c.code) {
			t.Errorf("%d %s is told as %v", c.status, c.code, err)
		}
	}
}

// A server that answers before it has the body cuts its answer off with the rest.
// The status is there, and is enough.
func TestAnswerWithoutItsReason(t *testing.T) {
	for status, want := range map[int]error{403: blob.ErrDenied, 412: blob.ErrExist, 429: blob.ErrBusy, 507: blob.ErrFull, 503: nil} {
		s := scripted(t, false, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(403)
				return
			}
			w.Header().Set("Content-Length", "300")
			w.WriteHeader(status)
			io.WriteString(w, "<Error><Code>")
			http.NewResponseController(w).Flush()
			cut(w)
		})
		err := s.Put(t.Context(), "k", []byte("body"))
		if err == nil || want != nil && !errors.Is(err, want) || want == nil && (blob.Permanent(err) || errors.Is(err, blob.ErrBusy)) || strings.Contains(err.Error(), "deserialization") {
			t.Errorf("%d: %v, want %v", status, err, want)
		}
	}
}

// An answer to HEAD can't tell an absent key from an absent bucket, or from a proxy
// that knows neither. Only a key that is absent is sure.
func TestOnlyAKeyIsSurelyAbsent(t *testing.T) {
	code := ""
	s := scripted(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(404)
			return
		}
		answer(w, 404, code)
	})
	for c, want := range map[string]error{"NoSuchKey": blob.ErrNotExist, "NoSuchBucket": blob.ErrDenied, "-": nil} {
		code = c
		if _, err := s.Stat(t.Context(), "k"); err == nil || want != nil && !errors.Is(err, want) || want == nil && blob.Permanent(err) {
			t.Errorf("%s: %v, want %v", c, err, want)
		}
	}
}

// A body that was cut off must not look like the end of an object, which is
// io.ErrUnexpectedEOF and would be believed.
func TestTornBody(t *testing.T) {
	s := scripted(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		if r.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", "bytes 0-99/100")
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write(make([]byte, 60))
		http.NewResponseController(w).Flush()
		cut(w)
	})
	for _, n := range []int64{-1, 100} {
		if b, err := s.Get(t.Context(), "k", 0, n); b != nil || err == nil || blob.Permanent(err) || !strings.Contains(err.Error(), "cut off after 60 of 100 bytes") {
			t.Errorf("60 of 100 bytes of %d: %d, %v", n, len(b), err)
		}
	}
}

// A server's word about a length is no reason to take so much memory.
func TestHugeObject(t *testing.T) {
	s := scripted(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(1<<50))
		w.Write([]byte("x"))
	})
	if _, err := s.Get(t.Context(), "k", 0, -1); !errors.Is(err, blob.ErrDenied) || !strings.Contains(err.Error(), "1125899906842624 bytes") {
		t.Errorf("an object of a petabyte: %v", err)
	}
}

// A server that answers another range than was asked for, or none, is not read.
func TestOtherRange(t *testing.T) {
	var said string
	s := scripted(t, false, func(w http.ResponseWriter, r *http.Request) {
		if said != "" {
			w.Header().Set("Content-Range", said)
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write(make([]byte, 10))
	})
	for _, said = range []string{"", "bytes 0-9/100", "bytes 11-20/100", "bytes 10-18/100", "bytes */100", "bytes 10-5/100", "bytes 10-19/15"} {
		if b, err := s.Get(t.Context(), "k", 10, 10); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Content-Range %q: %d bytes, %v", said, len(b), err)
		}
	}
	said = "bytes 10-19/20"
	if b, err := s.Get(t.Context(), "k", 10, 10); err != nil || len(b) != 10 {
		t.Errorf("the right range: %d bytes, %v", len(b), err)
	}
	if _, err := s.Get(t.Context(), "k", 10, 11); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the object ends: %v", err)
	}
}

// What is on the wire: our CRC32C and no trailer; a body that is signed over http
// and not over TLS, unless nothing else guards it; and nothing of AWS_* variables.
func TestOnTheWire(t *testing.T) {
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "leak", "AWS_SECRET_ACCESS_KEY": "leak", "AWS_REGION": "leak-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
		"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "AWS_SESSION_TOKEN": "leak", "AWS_PROFILE": "leak", "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported"} {
		t.Setenv(k, v)
	}
	for _, secure := range []bool{false, true} {
		var h http.Header
		s := scripted(t, secure, func(w http.ResponseWriter, r *http.Request) { h = r.Header; io.Copy(io.Discard, r.Body) })
		for _, d := range []Dialect{{}, {Checksum: MD5}, {Checksum: NoChecksum}, {Overwrites: true}, {SkipAcceptEncoding: true, StorageClass: "COLD"}} {
			s.dialect = d
			if d.Overwrites { // whose question this server would answer with yes
				must(t, s.send(t.Context(), "k", [][]byte{[]byte("he"), []byte("llo")}, d.sum([][]byte{[]byte("hello")})))
			} else {
				must(t, s.Put(t.Context(), "k", []byte("he"), []byte("llo")))
			}
			signed := len(h.Get("X-Amz-Content-Sha256")) == 64
			crc := crc32.Checksum([]byte("hello"), castagnoli)
			sum := base64.StdEncoding.EncodeToString([]byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)})
			if d.Checksum != "" {
				sum = ""
			}
			want := "*"
			if d.Overwrites {
				want = ""
			}
			if signed != (!secure || d.Checksum == NoChecksum) || h.Get("X-Amz-Checksum-Crc32c") != sum || (h.Get("Content-Md5") != "") != (d.Checksum == MD5) ||
				h.Get("X-Amz-Trailer") != "" || h.Get("Content-Encoding") != "" || h.Get("If-None-Match") != want || h.Get("X-Amz-Storage-Class") != d.StorageClass {
				t.Errorf("TLS %v, %+v: %v", secure, d, h)
			}
			if auth := h.Get("Authorization"); !strings.Contains(auth, "Credential=key/") || !strings.Contains(auth, "/"+RegionDefault+"/") || h.Get("X-Amz-Security-Token") != "" {
				t.Errorf("signed as %s", auth)
			}
		}
	}
	var auth string
	s := scripted(t, false, func(w http.ResponseWriter, r *http.Request) { auth = r.Header.Get("Authorization") })
	o := s.o
	o.Dialect.SkipAcceptEncoding = true
	other := opened(t, o)
	other.skew.next = inTurn{other.skew.next}
	for _, s := range []*Store{s, other} {
		must(t, s.Put(t.Context(), "k"))
		if strings.Contains(auth, "accept-encoding") == s.dialect.SkipAcceptEncoding {
			t.Errorf("%+v signs %s", s.dialect, auth)
		}
	}
}

// The parts are their owner's again when Put returns, though the server answered
// before it had read them and net/http still holds the body.
func TestBodyIsGivenBack(t *testing.T) {
	s := scripted(t, false, func(w http.ResponseWriter, r *http.Request) { answer(w, 403, "AccessDenied") })
	part := make([]byte, 8<<20)
	if err := s.Put(t.Context(), "k", part); err == nil {
		t.Fatal("refused, and no error")
	}
	clear(part) // what the race detector sees, if somebody still reads
	b := newBody([][]byte{part})
	b.release()
	if n, err := b.Read(make([]byte, 10)); n != 0 || !errors.Is(err, errBodyTaken) {
		t.Errorf("read %d bytes of a body that was given back: %v", n, err)
	}
}

// A listing is what a collector deletes by: one out of order, or whose next page
// is not to be had, is an error and not a shorter one.
func TestListingThatLies(t *testing.T) {
	page := ""
	s := scripted(t, false, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, page) })
	for _, page = range []string{
		`<ListBucketResult><Contents><Key>b</Key><Size>1</Size></Contents><Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>`,
		`<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>`,
		`<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></ListBucketResult>`,
		`<ListBucketResult><Contents><Key>a</Key>`,
	} {
		var last error
		for _, last = range s.List(t.Context(), "") {
		}
		if last == nil {
			t.Errorf("taken for a listing: %s", page)
		}
	}
}

// More objects than a page has come in order and once.
func TestPages(t *testing.T) {
	const n = 25
	s := scripted(t, false, func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.FormValue("continuation-token"))
		fmt.Fprintf(w, `<ListBucketResult><IsTruncated>%v</IsTruncated><NextContinuationToken>%d</NextContinuationToken>`, from+10 < n, from+10)
		for i := from; i < min(n, from+10); i++ {
			fmt.Fprintf(w, `<Contents><Key>%sk/%03d</Key><Size>%d</Size></Contents><Contents><Key>%sk/%03d/.hidden</Key></Contents>`, r.FormValue("prefix"), i, i, r.FormValue("prefix"), i)
		}
		io.WriteString(w, `</ListBucketResult>`)
	})
	s.o.Prefix = "all/"
	seen := 0
	for i, err := range s.List(t.Context(), "") {
		must(t, err)
		if i != (blob.Info{Key: fmt.Sprintf("k/%03d", seen), Size: int64(seen)}) {
			t.Fatalf("object %d is %+v", seen, i)
		}
		seen++
	}
	if seen != n {
		t.Errorf("%d of %d objects", seen, n)
	}
}

// Keys that change on disk are used within a minute; while they are half written,
// those of before.
func TestKeysRotate(t *testing.T) {
	dir := t.TempDir()
	k := &keys{access: filepath.Join(dir, "a"), secret: filepath.Join(dir, "s")}
	write := func(access, secret string) {
		must(t, os.WriteFile(k.access, []byte(access), 0o600))
		must(t, os.WriteFile(k.secret, []byte(secret), 0o600))
	}
	if _, err := k.read(); err == nil || !strings.Contains(err.Error(), k.access) {
		t.Errorf("no keys: %v", err)
	}
	for _, c := range [][3]string{{"a", "1\n", "a1"}, {"b", "2", "b2"}, {"c", "", "b2"}, {"c", "two words", "b2"}, {"c", "3", "c3"}} {
		write(c[0], c[1])
		got, err := k.Retrieve(context.Background())
		if err != nil || got.AccessKeyID+got.SecretAccessKey != c[2] || time.Until(got.Expires) > keysFor {
			t.Errorf("%q: %+v, %v", c, got, err)
		}
	}
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes 0-9/10", "bytes */10", "bytes 5-4/10", "0-9/10", "bytes 0-9/*", "bytes 0-18446744073709551615/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if first, last, total, err := parseRange(s); err == nil && (first < 0 || first > last || last >= total) {
			t.Errorf("%q is %d to %d of %d", s, first, last, total)
		}
	})
}
