package s3

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// pageMax objects are asked for at once: the most that a server gives.
const pageMax = 1000

// List holds one page at a time. What has no name of a key is not ours.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		err := blob.CheckPrefix(prefix)
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		last := ""
		for token, more := (*string)(nil), true; more && err == nil; {
			var out *s3.ListObjectsV2Output
			err = s.call(ctx, func() (err error) {
				out, err = s.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.o.Bucket, Prefix: s.key(prefix),
					ContinuationToken: token, MaxKeys: aws.Int32(pageMax)})
				return err
			})
			if err != nil {
				break
			}
			for _, o := range out.Contents {
				key, ours := strings.CutPrefix(aws.ToString(o.Key), s.o.Prefix)
				if !ours || blob.CheckKey(key) != nil || !strings.HasPrefix(key, prefix) {
					continue
				}
				if key <= last {
					err = fmt.Errorf("%w: its listing has %s behind %s, and is no order", blob.ErrDenied, key, last)
					break
				}
				if last = key; !yield(blob.Info{Key: key, Size: aws.ToInt64(o.Size)}, nil) {
					return
				}
			}
			if more = aws.ToBool(out.IsTruncated); more && err == nil {
				if next := aws.ToString(out.NextContinuationToken); next == "" || next == aws.ToString(token) {
					err = fmt.Errorf("%w: its listing has a next page without a way to it", blob.ErrDenied)
				}
				token = out.NextContinuationToken
			}
		}
		if err != nil {
			yield(blob.Info{}, fmt.Errorf("list %s: %w", prefix, err))
		}
	}
}
