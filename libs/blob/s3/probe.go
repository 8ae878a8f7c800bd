package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/blob/probe"
)

const (
	// tryMax is how long one way to speak to a server is tried.
	tryMax = 15 * time.Second
	// A clock may be off by 15 minutes before a server refuses what it signs.
	skewNote, skewBad = 30 * time.Second, 10 * time.Minute
)

// Probe tries a bucket as a target. Where the server does not take the dialect that
// it is given, others are tried, and the one that works is told.
func Probe(ctx context.Context, o Options) probe.Findings {
	s, t, first := search(ctx, o)
	if s == nil {
		return first
	}
	t.Findings = first
	t.Common()
	s.judgeNames(t)
	s.checksums(ctx, t)
	s.clock(t)
	s.rights(ctx, t, t.CleanUp())
	return t.Findings
}

// way is a change of dialect that some server needs.
type way struct {
	setting string
	change  func(*Options)
}

var ways = []way{
	{"dialect: {style: host}", func(o *Options) { o.Dialect.Style = StyleHost }},
	{"dialect: {checksum: md5}", func(o *Options) { o.Dialect.Checksum = MD5 }},
	{"dialect: {checksum: none}", func(o *Options) { o.Dialect.Checksum = NoChecksum }},
	{"dialect: {sign_accept_encoding: false}", func(o *Options) { o.Dialect.SkipAcceptEncoding = true }},
	{"dialect: {expect: 0}", func(o *Options) { o.Dialect.ExpectFrom = 0 }},
	{"dialect: {conditional: false}", func(o *Options) { o.Dialect.Overwrites = true }},
	{"region: auto", func(o *Options) { o.Region = "auto" }},
	{"dialect: {sign_accept_encoding: false, checksum: md5}", func(o *Options) { o.Dialect.SkipAcceptEncoding, o.Dialect.Checksum = true, MD5 }},
	{"dialect: {sign_accept_encoding: false, checksum: none}", func(o *Options) { o.Dialect.SkipAcceptEncoding, o.Dialect.Checksum = true, NoChecksum }},
	{"dialect: {conditional: false, checksum: md5}", func(o *Options) { o.Dialect.Overwrites, o.Dialect.Checksum = true, MD5 }},
	{"dialect: {conditional: false, checksum: none}", func(o *Options) { o.Dialect.Overwrites, o.Dialect.Checksum = true, NoChecksum }},
}

// search finds a way to put and get an object.
func search(ctx context.Context, o Options) (s *Store, t *probe.Trial, out probe.Findings) {
	s, t, err := o.works(ctx)
	if err == nil {
		out.Say("dialect", probe.OK, "the server takes the dialect of the configuration")
		return s, t, out
	}
	if foreign(err) {
		out.Say("dialect", probe.Bad, "%v", err)
		return nil, nil, out
	}
	for _, w := range ways {
		other := o
		w.change(&other)
		if s, t, oerr := other.works(ctx); oerr == nil {
			out.Say("dialect", probe.Bad, "the server does not take that of the configuration (%v), and takes another", err).Setting = w.setting
			return s, t, out
		}
	}
	out.Say("dialect", probe.Bad, "%v; no other dialect does better", err)
	return nil, nil, out
}

// foreign reports whether an error is of something that no dialect changes.
func foreign(err error) bool {
	var f *Fault
	if !errors.As(err, &f) {
		return true // of the options, or of time
	}
	switch f.Code {
	case "InvalidAccessKeyId", "NoSuchBucket", "RequestTimeTooSkewed":
		return true
	}
	return f.Status == 0 && !strings.Contains(f.Text, "no such host") // a bucket in the host may be what has none
}

// works puts and gets two objects, which are the trial's from then on: one that is
// on its way before any refusal can cut it off, and its reason with it, and one
// that is long enough to be expected.
func (o Options) works(ctx context.Context) (*Store, *probe.Trial, error) {
	s, err := Open(o)
	if err != nil {
		return nil, nil, err
	}
	short, cancel := context.WithTimeoutCause(ctx, tryMax, fmt.Errorf("no answer in %s", tryMax))
	defer cancel()
	t, again := probe.New(ctx, s), blob.Retry(s, blob.Brief)
	for _, size := range []int{100, 3 << 20} {
		key := t.Key(fmt.Sprint("first-", size))
		err := again.Put(short, key, make([]byte, size))
		if err == nil {
			var got []byte
			if got, err = again.Get(short, key, 0, -1); err == nil && len(got) != size {
				err = &Fault{Text: fmt.Sprintf("get %s: %d of %d bytes came back", key, len(got), size)}
			}
		}
		if err != nil {
			t.CleanUp()
			return nil, nil, err
		}
	}
	return s, t, nil
}

// judgeNames says what to set where names have no one winner.
func (s *Store) judgeNames(t *probe.Trial) {
	for i := range t.Findings {
		f := &t.Findings[i]
		if f.State != probe.Bad || f.Check != "conditional put" && f.Check != "race" {
			continue
		}
		if s.dialect.Overwrites {
			f.State, f.Says = probe.Note, f.Says+"; that is so without conditional puts, and backups do not rest on it"
		} else {
			f.Setting = "dialect: {conditional: false}"
		}
	}
}

// checksums puts a body with the checksum of another.
func (s *Store) checksums(ctx context.Context, t *probe.Trial) {
	if s.dialect.Checksum == NoChecksum {
		t.Say("checksum", probe.OK, "none is sent; the signature covers the body")
		return
	}
	if said, refused := s.wrong(ctx, t, s.dialect); refused {
		t.Say("checksum", probe.OK, "%s", said)
		return
	} else if f := t.Say("checksum", probe.Bad, "%s", said); s.dialect.Checksum != MD5 {
		md5 := s.dialect
		md5.Checksum = MD5
		if _, refused := s.wrong(ctx, t, md5); refused {
			f.Setting = "dialect: {checksum: md5}"
			return
		}
	}
	t.Findings[len(t.Findings)-1].Setting = "dialect: {checksum: none}"
}

func (s *Store) wrong(ctx context.Context, t *probe.Trial, d Dialect) (said string, refused bool) {
	other := *s
	other.dialect = d
	key := t.Key("wrong-" + d.Checksum)
	err := other.send(ctx, key, [][]byte{[]byte("these bytes")}, d.sum([][]byte{[]byte("not those")}))
	var f *Fault
	_, stat := s.Stat(ctx, key)
	switch {
	case err == nil:
		return "a body with the checksum of another was taken: damage on the way would be, too", false
	case !errors.As(err, &f) || f.Status < 400 || f.Status >= 500:
		return fmt.Sprintf("not known: %v", err), true
	case !errors.Is(stat, blob.ErrNotExist):
		return fmt.Sprintf("a body with the checksum of another was refused (%s) and kept", f.Code), false
	}
	return fmt.Sprintf("a body with the checksum of another is refused (%s), and nothing is kept", f.Code), true
}

func (s *Store) clock(t *probe.Trial) {
	by, known := s.skew.ahead()
	state, off := probe.OK, by.Abs().Round(time.Second)
	switch {
	case !known:
		t.Say("clock", probe.Note, "the server does not tell its time")
		return
	case off > skewBad:
		state = probe.Bad
	case off > skewNote:
		state = probe.Note
	}
	where := "ahead of"
	if by < 0 {
		where = "behind"
	}
	t.Say("clock", state, "this machine is %s %s the server (within a second)", off, where)
}

// rights tells what the credential may do beyond what a worker needs.
func (s *Store) rights(ctx context.Context, t *probe.Trial, deletes bool) {
	if deletes {
		t.Say("rights", probe.Note, "this credential may delete; only the collector's has to: ops/docs/targets.md has a policy for the others")
	} else {
		t.Say("rights", probe.OK, "this credential may not delete, as is right for all but the collector's")
	}
	if out, err := s.client.ListBuckets(ctx, &s3.ListBucketsInput{}); err == nil && len(out.Buckets) > 1 {
		t.Say("rights", probe.Note, "this credential sees %d other buckets", len(out.Buckets)-1)
	}
	v, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &s.o.Bucket})
	switch {
	case err != nil:
		t.Say("versions", probe.Note, "not known whether the bucket keeps versions: %v", faultOf(ctx, err))
	case v.Status == types.BucketVersioningStatusEnabled:
		s.versions(ctx, t)
	default:
		t.Say("versions", probe.OK, "the bucket keeps none: what is deleted is gone")
	}
}

// versions deletes what a delete has only hidden.
func (s *Store) versions(ctx context.Context, t *probe.Trial) {
	prefix := s.o.Prefix + t.Dir()
	out, err := s.client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &s.o.Bucket, Prefix: &prefix})
	if err != nil {
		t.Say("versions", probe.Note, "the bucket keeps versions, and those of the probe stay in %s: %v", prefix, faultOf(ctx, err))
		return
	}
	left := 0
	del := func(key, version *string) {
		if _, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.o.Bucket, Key: key, VersionId: version}); err != nil {
			left++
		}
	}
	for _, v := range out.Versions {
		del(v.Key, v.VersionId)
	}
	for _, m := range out.DeleteMarkers {
		del(m.Key, m.VersionId)
	}
	if left > 0 {
		t.Say("versions", probe.Note, "the bucket keeps versions, and %d of the probe stay in %s: this credential may not delete them, as is right", left, prefix)
		return
	}
	t.Say("versions", probe.Note, "the bucket keeps versions: what is deleted takes room until a lifecycle rule ends it; this credential may delete versions, which no stage needs")
}
