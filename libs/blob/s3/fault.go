package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// Fault is what a server said, or what kept it from saying anything. It wraps the
// word of package blob that it means, and nothing else: what net/http has inside,
// io.ErrUnexpectedEOF above all, means something else there.
type Fault struct {
	Code   string // SlowDown; empty: no answer
	Status int    // of HTTP; 0: no answer
	Text   string
	kind   error // of package blob; nil: weather
}

func (f *Fault) Unwrap() error { return f.kind }

func (f *Fault) Error() string {
	s := f.Text
	if f.Code != "" {
		s = strings.TrimSuffix(fmt.Sprintf("%s (%d): %s", f.Code, f.Status, f.Text), ": ")
	}
	if f.kind != nil && !errors.Is(f.kind, blob.ErrNotExist) {
		s = f.kind.Error() + ": " + s
	}
	return s
}

// call makes one call at the store's pace and says what came of it.
func (s *Store) call(ctx context.Context, f func() error) error {
	if err := s.pace.wait(ctx); err != nil {
		return err
	}
	err := f()
	if err != nil {
		err = faultOf(ctx, err)
	}
	s.pace.note(errors.Is(err, blob.ErrBusy))
	return err
}

// faultOf turns what the SDK returns, or one of our own errors, into the latter.
func faultOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%.200s)", context.Cause(ctx), transportText(err))
	}
	if f := new(Fault); errors.As(err, &f) || blob.Permanent(err) && !isSDK(err) {
		return err
	}
	f := new(Fault)
	var status interface{ HTTPStatusCode() int }
	if errors.As(err, &status) {
		f.Status = status.HTTPStatusCode()
	}
	var api smithy.APIError
	switch {
	case errors.As(err, &api) && f.Status != 0:
		f.Code, f.Text = api.ErrorCode(), clip(api.ErrorMessage())
	case f.Status >= 300: // a server that answers before it has the body may cut its own answer off
		f.Code, f.Text = strings.ReplaceAll(http.StatusText(f.Status), " ", ""), "without a reason"
	default:
		f.Text = clip(transportText(err))
	}
	f.kind = kindOf(f.Code, f.Status)
	if hint, ok := hints[f.Code]; ok {
		f.Text = strings.TrimPrefix(f.Text+"; "+hint, "; ")
	}
	return f
}

// isSDK reports whether an error came out of the SDK, which wraps what net/http
// says.
func isSDK(err error) bool {
	var op *smithy.OperationError
	return errors.As(err, &op)
}

// hints are for codes whose cause is mostly one.
var hints = map[string]string{
	"RequestTimeTooSkewed":  "set this machine's clock",
	"SignatureDoesNotMatch": "wrong secret key, or a proxy that changes what is signed: see dialect.sign_accept_encoding",
	"PermanentRedirect":     "url or region are of another place",
	"NoSuchBucket":          "make it, or correct the name",
}

// kindOf is the word of package blob for an answer; nil is weather, which a retry
// may cure.
func kindOf(code string, status int) error {
	switch code {
	case "NoSuchKey":
		return blob.ErrNotExist
	case "PreconditionFailed":
		return blob.ErrExist
	case "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "StorageQuotaExceeded":
		return blob.ErrFull
	case "SlowDown", "SlowDownRead", "SlowDownWrite", "TooManyRequests", "TooManyRequestsException", "RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled", "BandwidthLimitExceeded":
		return blob.ErrBusy
	case "RequestTimeout", "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody", "OperationAborted", "ConditionalRequestConflict":
		return nil
	case "NoSuchBucket":
		return blob.ErrDenied
	}
	switch {
	case status == 412:
		return blob.ErrExist
	case status == 507:
		return blob.ErrFull
	case status == 429:
		return blob.ErrBusy
	case status == 404, status == 408, status == 409, status == 416, status == 0: // a 404 of somebody else is sure of nothing
		return nil
	case status < 500 || status == 501:
		return blob.ErrDenied
	}
	return nil
}

const textMax = 300

func clip(s string) string {
	if len(s) > textMax {
		s = s[:textMax] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// transportText is the cause at the bottom of what the SDK wraps around it.
func transportText(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err.Error()
	}
	if op, ok := errors.AsType[*smithy.OperationError](err); ok {
		return op.Err.Error()
	}
	return err.Error()
}
