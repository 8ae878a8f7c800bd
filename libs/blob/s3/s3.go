// Package s3 is an object store in a bucket, of AWS or of any server that speaks
// S3 well enough; how well, its Dialect says.
//
// A Store is one client with connections of its own. It tries each call once: who
// calls it retries, and knows what for. What a server says becomes a word of
// package blob, or weather; nothing of it is believed further than that, and
// nothing is taken from AWS_* variables or files.
package s3

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

const (
	// ConnectionsDefault: the 32 reads and 8 puts that a vault has under way on one
	// target. Their buffers take 40 x 320 KiB.
	ConnectionsDefault = 40
	// RateDefault is above what one process makes of it: 1000 shards of 4 MiB.
	RateDefault = 1000
	// RegionDefault is what servers without regions expect in a signature.
	RegionDefault = "us-east-1"
)

// Options of a bucket, or of a part of one.
type Options struct {
	// URL of the server, without the bucket: https://s3.example.org:9000.
	URL    string
	Bucket string
	// Prefix of all keys, such as "holdfast/"; empty: the whole bucket.
	Prefix string
	Region string // empty: RegionDefault
	// AccessKeyFile and SecretKeyFile hold a word each. They are read again each
	// minute, so that a rotation needs no restart.
	AccessKeyFile, SecretKeyFile string
	// CAFile is a PEM of who signs the server's certificate; empty: the system's roots.
	CAFile      string
	Connections int     // at most; 0: ConnectionsDefault
	Rate        float64 // calls a second, at most; 0: RateDefault
	Dialect     Dialect
}

// Store is a blob.Store.
type Store struct {
	o       Options
	client  *s3.Client
	pace    *pace
	skew    *skew
	dialect Dialect
}

var _ blob.Store = (*Store)(nil)

// Open checks the options and connects to nobody.
func Open(o Options) (*Store, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("s3: url %q: want http(s)://host", o.URL)
	case o.Bucket == "":
		return nil, errors.New("s3: no bucket")
	case strings.HasPrefix(o.Prefix, "/"):
		return nil, fmt.Errorf("s3: prefix %q begins with a slash", o.Prefix)
	}
	if err := o.Dialect.Check(); err != nil {
		return nil, fmt.Errorf("s3: %w", err)
	}
	transport, err := transport(cmp.Or(o.Connections, ConnectionsDefault), o.CAFile)
	if err != nil {
		return nil, err
	}
	keys := &keys{access: o.AccessKeyFile, secret: o.SecretKeyFile}
	if _, err := keys.read(); err != nil {
		return nil, err
	}
	s := &Store{o: o, pace: newPace(cmp.Or(o.Rate, RateDefault)), skew: &skew{next: transport}, dialect: o.Dialect}
	s.client = s3.New(s3.Options{
		BaseEndpoint:                 aws.String(strings.TrimRight(o.URL, "/")),
		Region:                       cmp.Or(o.Region, RegionDefault),
		Credentials:                  aws.NewCredentialsCache(keys),
		Retryer:                      aws.NopRetryer{},
		UsePathStyle:                 o.Dialect.Style != StyleHost,
		RequestChecksumCalculation:   aws.RequestChecksumCalculationWhenRequired, // ours, or none: never the SDK's trailer
		ResponseChecksumValidation:   aws.ResponseChecksumValidationWhenRequired,
		ContinueHeaderThresholdBytes: o.Dialect.expect(),
		DisableS3ExpressSessionAuth:  aws.Bool(true),
		// A redirect is told, not followed: it means that url or region is wrong.
		HTTPClient: &http.Client{Transport: s.skew, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, o.Dialect.apply)
	return s, nil
}

// apply is what of a dialect is a matter of signing.
func (d Dialect) apply(o *s3.Options) {
	if d.SkipAcceptEncoding {
		o.HTTPSignerV4 = &bareSigner{v4.NewSigner(func(s *v4.SignerOptions) { s.DisableURIPathEscaping = true })}
	}
}

func (s *Store) key(key string) *string { return aws.String(s.o.Prefix + key) }

// Rate is how many calls a second the store is given now, at most.
func (s *Store) Rate() float64 { return s.pace.now() }

// Slowed is how often the server asked for fewer.
func (s *Store) Slowed() uint64 { return s.pace.slowed() }

func (s *Store) String() string {
	return strings.TrimRight(s.o.URL, "/") + "/" + s.o.Bucket + "/" + s.o.Prefix
}
