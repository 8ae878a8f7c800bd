package s3

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

// Dialect is how a server differs from what AWS documents. The zero value is AWS
// with the bucket in the path, which most servers take; `holdfast target probe`
// finds out what another one needs.
type Dialect struct {
	Style    string // StylePath ("" too) or StyleHost
	Checksum string // one of Checksums; "": CRC32C
	// Overwrites: the server has no If-None-Match. A put then asks first whether the
	// object is there, and of two at the same moment both may win: the vault's names
	// are random or say their content, so what both write is the same.
	Overwrites   bool
	StorageClass string // of new objects; "": the bucket's default
	// SkipAcceptEncoding leaves this header out of the signature, for servers that
	// change it on the way (Google Cloud Storage).
	SkipAcceptEncoding bool
	// ExpectFrom is the size in bytes from which on a put waits for a word before it
	// sends its body, so that a refusal costs no transfer; a proxy that never gives
	// the word costs a second each. 0: never.
	ExpectFrom int64
}

// Where the bucket stands.
const (
	StylePath = "path" // https://host/bucket/key
	StyleHost = "host" // https://bucket.host/key, which wants a DNS name per bucket
)

// Checksums that a put can carry, which the server compares before it keeps an object.
const (
	CRC32C = "crc32c" // as x-amz-checksum-crc32c
	MD5    = "md5"    // as Content-MD5, which is older than all others
	// NoChecksum has the body signed instead, over TLS too: a body that changed on
	// its way is refused for its signature. SHA-256 takes 0.6 CPU s per GB.
	NoChecksum = "none"
)

// Checksums are all that Dialect.Checksum may be.
var Checksums = []string{CRC32C, MD5, NoChecksum}

// ExpectDefault: below it a body travels faster than a word.
const ExpectDefault = 2 << 20

// Check says what is wrong with a dialect.
func (d Dialect) Check() error {
	switch {
	case d.Style != "" && d.Style != StylePath && d.Style != StyleHost:
		return fmt.Errorf("dialect: style %q is not one of %s, %s", d.Style, StylePath, StyleHost)
	case d.Checksum != "" && !slices.Contains(Checksums, d.Checksum):
		return fmt.Errorf("dialect: checksum %q is not one of %q", d.Checksum, Checksums)
	case d.ExpectFrom < 0:
		return fmt.Errorf("dialect: expect %d is below zero", d.ExpectFrom)
	}
	return nil
}

func (d Dialect) expect() int64 {
	if d.ExpectFrom == 0 {
		return -1
	}
	return d.ExpectFrom
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is a body's checksum, as its header has it.
func (d Dialect) sum(body [][]byte) string {
	switch d.Checksum {
	case NoChecksum:
		return ""
	case MD5:
		h := md5.New()
		for _, b := range body {
			h.Write(b)
		}
		return base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	var crc uint32
	for _, b := range body {
		crc = crc32.Update(crc, castagnoli, b)
	}
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}

// dress puts into a put what the dialect wants of it, and returns how it is signed.
func (d Dialect) dress(in *s3.PutObjectInput, sum string) (sign func(*s3.Options)) {
	if !d.Overwrites {
		in.IfNoneMatch = aws.String("*")
	}
	in.StorageClass = storageClass(d.StorageClass)
	switch d.Checksum {
	case NoChecksum:
		return s3.WithAPIOptions(signBody)
	case MD5:
		in.ContentMD5 = aws.String(sum)
	default:
		in.ChecksumCRC32C = aws.String(sum)
	}
	return func(*s3.Options) {} // over TLS the body is not signed, and over http it is
}

func signBody(stack *middleware.Stack) error {
	sha := new(v4.ComputePayloadSHA256)
	_, err := stack.Finalize.Swap(sha.ID(), sha)
	return err
}

// bareSigner signs a request as if it had no Accept-Encoding.
type bareSigner struct{ s s3.HTTPSignerV4 }

func (b *bareSigner) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string, at time.Time, o ...func(*v4.SignerOptions)) error {
	kept := r.Header.Values("Accept-Encoding")
	r.Header.Del("Accept-Encoding")
	err := b.s.SignHTTP(ctx, c, r, hash, service, region, at, o...)
	for _, v := range kept {
		r.Header.Add("Accept-Encoding", v)
	}
	return err
}
