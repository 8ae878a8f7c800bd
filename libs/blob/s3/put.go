package s3

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

func storageClass(name string) types.StorageClass { return types.StorageClass(name) }

// Put makes the object in one request, with the checksum that its dialect has.
func (s *Store) Put(ctx context.Context, key string, parts ...[]byte) error {
	if err := start(ctx, key); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	sum := s.dialect.sum(parts)
	err := s.vacant(ctx, key, parts, sum)
	if err == nil {
		err = s.send(ctx, key, parts, sum)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// vacant is the question before a put that would overwrite.
func (s *Store) vacant(ctx context.Context, key string, parts [][]byte, sum string) error {
	if !s.dialect.Overwrites {
		return nil
	}
	switch _, err := s.stat(ctx, key); {
	case err == nil:
		return s.taken(ctx, key, newBody(parts).size, sum)
	case errors.Is(err, blob.ErrNotExist):
		return nil
	default:
		return err
	}
}

func (s *Store) send(ctx context.Context, key string, parts [][]byte, sum string) error {
	b := newBody(parts)
	defer b.release()
	in := &s3.PutObjectInput{Bucket: &s.o.Bucket, Key: s.key(key), Body: b, ContentLength: &b.size}
	sign := s.dialect.dress(in, sum)
	err := s.call(ctx, func() error { _, err := s.client.PutObject(ctx, in, sign); return err })
	if errors.Is(err, blob.ErrExist) {
		return s.taken(ctx, key, b.size, sum)
	}
	return err
}

// taken asks what has the name: our own put, whose answer was lost, has its size
// and checksum. A server that may not or cannot say leaves it at ErrExist.
func (s *Store) taken(ctx context.Context, key string, size int64, sum string) error {
	in := &s3.HeadObjectInput{Bucket: &s.o.Bucket, Key: s.key(key)}
	ours := s.dialect.Checksum == "" || s.dialect.Checksum == CRC32C
	if ours {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	var out *s3.HeadObjectOutput
	err := s.call(ctx, func() (err error) { out, err = s.client.HeadObject(ctx, in); return err })
	var f *Fault
	switch {
	case errors.As(err, &f) && f.Status == 404:
		return &Fault{Code: "PreconditionFailed", Status: 412, Text: "the object was there, and is not"}
	case err != nil:
		return blob.ErrExist
	case aws.ToInt64(out.ContentLength) != size:
		return fmt.Errorf("%w: %d of them, not %d", blob.ErrDiffers, aws.ToInt64(out.ContentLength), size)
	case ours && out.ChecksumCRC32C != nil && *out.ChecksumCRC32C != sum:
		return fmt.Errorf("%w: their CRC32C is %s, not %s", blob.ErrDiffers, *out.ChecksumCRC32C, sum)
	}
	return blob.ErrExist
}

// Delete removes the object; in a bucket with versions it hides it.
func (s *Store) Delete(ctx context.Context, key string) error {
	err := start(ctx, key)
	if err == nil {
		err = s.call(ctx, func() error {
			_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.o.Bucket, Key: s.key(key)})
			return err
		})
	}
	if err != nil && !errors.Is(err, blob.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// Free is not known: no server of this kind tells.
func (s *Store) Free(context.Context) (int64, bool) { return 0, false }

func start(ctx context.Context, key string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return blob.CheckKey(key)
}
