package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// roomMax is how much memory a server's word about a length is worth at once; what
// really comes takes more as it comes.
const roomMax = 32 << 20

// wholeMax is the longest object that is read without a range: 50 times the longest
// pack. What is longer is not ours, and would be more than memory.
const wholeMax = 1 << 30

// Get reads with one request, and asks no second time for what did not come.
func (s *Store) Get(ctx context.Context, key string, off, n int64) ([]byte, error) {
	b, err := s.get(ctx, key, off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	return b, nil
}

func (s *Store) get(ctx context.Context, key string, off, n int64) ([]byte, error) {
	if err := start(ctx, key); err != nil {
		return nil, err
	}
	switch {
	case off < 0:
		return nil, fmt.Errorf("offset %d", off)
	case n == 0: // no range says nothing
		return s.end(ctx, key, off, n)
	}
	in := &s3.GetObjectInput{Bucket: &s.o.Bucket, Key: s.key(key)}
	if off > 0 || n > 0 {
		in.Range = aws.String(byteRange(off, n))
	}
	var b []byte
	err := s.call(ctx, func() error {
		out, err := s.client.GetObject(ctx, in)
		if err != nil {
			return err
		}
		defer out.Body.Close()
		b, err = take(out, off, n, in.Range != nil)
		return err
	})
	var f *Fault
	if errors.As(err, &f) && f.Status == 416 {
		return s.end(ctx, key, off, n)
	}
	return b, err
}

func byteRange(off, n int64) string {
	if n < 0 {
		return fmt.Sprintf("bytes=%d-", off)
	}
	last := int64(math.MaxInt64)
	if n <= math.MaxInt64-off {
		last = off + n - 1
	}
	return fmt.Sprintf("bytes=%d-%d", off, last)
}

// end answers for ranges without bytes: they are right up to the object's end.
func (s *Store) end(ctx context.Context, key string, off, n int64) ([]byte, error) {
	i, err := s.stat(ctx, key)
	if err == nil && (off > i.Size || n > i.Size-off) {
		err = fmt.Errorf("%d bytes from %d of %d: %w", n, off, i.Size, io.ErrUnexpectedEOF)
	}
	if err == nil && n < 0 && off < i.Size {
		err = &Fault{Code: "InvalidRange", Status: 416, Text: fmt.Sprintf("%d of %d bytes are there", off, i.Size)}
	}
	if err != nil {
		return nil, err
	}
	return []byte{}, nil
}

// take reads what a server sent, which must be what was asked for: all of it, or
// the range. io.ErrUnexpectedEOF is an answer about the object; a body that was
// cut off is weather and must not be that error.
func take(out *s3.GetObjectOutput, off, n int64, ranged bool) ([]byte, error) {
	size := int64(-1)
	if out.ContentLength != nil {
		size = *out.ContentLength
	}
	if ranged {
		first, last, total, err := parseRange(aws.ToString(out.ContentRange))
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: asked for a range, it sent no such thing: %v", blob.ErrDenied, err)
		case first != off, n > 0 && last-first >= n, last != total-1 && last-first+1 != n:
			return nil, &Fault{Text: fmt.Sprintf("asked for %d bytes from %d, got %d to %d of %d", n, off, first, last, total)}
		case n > total-off:
			return nil, fmt.Errorf("%d bytes from %d of %d: %w", n, off, total, io.ErrUnexpectedEOF)
		}
		size = last - first + 1
	}
	if n < 0 && size > wholeMax {
		return nil, fmt.Errorf("%w: an object of %d bytes, where none of ours has more than %d", blob.ErrDenied, size, wholeMax)
	}
	b, err := readSome(out.Body, size)
	if err != nil || size >= 0 && int64(len(b)) != size {
		return nil, &Fault{Text: fmt.Sprintf("cut off after %d of %d bytes: %v", len(b), size, err)}
	}
	return b, nil
}

// readSome reads size bytes, or all if it is not known.
func readSome(r io.Reader, size int64) ([]byte, error) {
	if size < 0 {
		b, err := io.ReadAll(io.LimitReader(r, wholeMax+1))
		if err == nil && len(b) > wholeMax {
			err = errors.New("it does not end")
		}
		return b, err
	}
	b := make([]byte, 0, min(size, roomMax))
	for int64(len(b)) < size {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):min(int64(cap(b)), size)])
		b = b[:len(b)+n]
		if err != nil && int64(len(b)) < size {
			return b, err
		}
	}
	var more [1]byte
	r.Read(more[:]) // the end, so that the connection can be used again
	return b, nil
}

// parseRange reads a Content-Range: "bytes 0-9/10".
func parseRange(s string) (first, last, total int64, err error) {
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, all, ok2 := strings.Cut(rest, "/")
	a, b, ok3 := strings.Cut(span, "-")
	if ok && ok2 && ok3 {
		var errs [3]error
		first, errs[0] = strconv.ParseInt(a, 10, 64)
		last, errs[1] = strconv.ParseInt(b, 10, 64)
		total, errs[2] = strconv.ParseInt(all, 10, 64)
		if errors.Join(errs[:]...) == nil && 0 <= first && first <= last && last < total {
			return first, last, total, nil
		}
	}
	return 0, 0, 0, fmt.Errorf("Content-Range %.60q", s)
}

// Stat is one request, and a second one where there is none: an answer to HEAD
// has no body, so it can't tell a key that is absent from a bucket that is.
func (s *Store) Stat(ctx context.Context, key string) (blob.Info, error) {
	err := start(ctx, key)
	var i blob.Info
	if err == nil {
		i, err = s.stat(ctx, key)
	}
	if err != nil {
		return blob.Info{}, fmt.Errorf("stat %s: %w", key, err)
	}
	return i, nil
}

func (s *Store) stat(ctx context.Context, key string) (blob.Info, error) {
	var out *s3.HeadObjectOutput
	err := s.call(ctx, func() (err error) {
		out, err = s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.o.Bucket, Key: s.key(key)})
		return err
	})
	if err == nil {
		return blob.Info{Key: key, Size: aws.ToInt64(out.ContentLength)}, nil
	}
	var f *Fault
	if !errors.As(err, &f) || f.Status != 404 {
		return blob.Info{}, err
	}
	err = s.call(ctx, func() error {
		out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.o.Bucket, Key: s.key(key), Range: aws.String("bytes=0-0")})
		if err == nil {
			out.Body.Close()
		}
		return err
	})
	if err == nil || errors.As(err, &f) && f.Status == 416 {
		return blob.Info{}, &Fault{Code: "NotFound", Status: 404, Text: "HEAD finds no object where GET does"}
	}
	return blob.Info{}, err
}
