package s3

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/blob/blobtest"
	"github.com/holdfast-backup/holdfast/libs/blob/s3/s3test"
)

// at are the options for a part of a test server's bucket.
func at(s *s3test.Server, prefix string) Options {
	return Options{URL: s.URL, Bucket: s3test.Bucket, Prefix: prefix, AccessKeyFile: s.AccessKey, SecretKeyFile: s.SecretKey}
}

func opened(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// prefix is a test's own part of a bucket.
func prefix(t *testing.T) string { return strings.NewReplacer("#", "-").Replace(t.Name()) + "/" }

// The suite of memory and folders, on a real server, in each dialect that it
// speaks. Calls are tried again, as everywhere in the house: this server answers
// 409 to a put whose folder another's delete takes away.
func TestSuite(t *testing.T) {
	s := s3test.Start(t, t.TempDir())
	for name, d := range map[string]Dialect{
		"Plain":      {},
		"MD5":        {Checksum: MD5, SkipAcceptEncoding: true, ExpectFrom: 1 << 10},
		"NoChecksum": {Checksum: NoChecksum, StorageClass: "STANDARD"},
	} {
		t.Run(name, func(t *testing.T) {
			blobtest.Run(t, func(t *testing.T) blob.Store {
				o := at(s, prefix(t))
				o.Dialect = d
				return blob.Retry(opened(t, o), blob.Brief)
			})
		})
	}
}

// In a bucket with versions a delete only hides. What is hidden is not there, and
// a plain overwrite by somebody else is told as other bytes.
func TestVersionedBucket(t *testing.T) {
	server := s3test.Start(t, t.TempDir())
	s := opened(t, at(server, "v/"))
	_, err := s.client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &s.o.Bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	must(t, err)
	must(t, s.Put(t.Context(), "kept", []byte("bytes")))
	must(t, s.Put(t.Context(), "gone", []byte("bytes")))
	must(t, s.Delete(t.Context(), "gone"))
	must(t, s.Delete(t.Context(), "gone"))
	if _, err := s.Get(t.Context(), "gone", 0, -1); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("a hidden object: %v", err)
	}
	if _, err := s.Stat(t.Context(), "gone"); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("a hidden object: %v", err)
	}
	for i, err := range s.List(t.Context(), "") {
		if err != nil || i.Key != "kept" {
			t.Errorf("listed %+v, %v", i, err)
		}
	}
	_, err = s.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &s.o.Bucket, Key: s.key("kept"), Body: strings.NewReader("other"), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c})
	must(t, err)
	if err := s.Put(t.Context(), "kept", []byte("bytes")); !errors.Is(err, blob.ErrDiffers) {
		t.Errorf("put of a name with other bytes of the same length: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
