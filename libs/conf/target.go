package conf

import (
	"cmp"
	"fmt"
	"strings"
)

// Target is one object store: a folder, or a bucket. The kinds may be mixed in one vault.
type Target struct {
	Name string `yaml:"name"`
	Kind string `yaml:"kind"` // file or s3

	// Path of a file target: the folder.
	Path string `yaml:"path"`

	// Bandwidth of what is put on it, of either kind. Default: no limit. What is read
	// of a target, as for a restore, is not limited.
	Bandwidth Bandwidth `yaml:"bandwidth"`

	// URL of an s3 target's server, without the bucket: https://s3.example.org:9000.
	// Over http each body is signed, which costs 0.6 CPU s per GB, and all can read it.
	URL    string `yaml:"url"`
	Bucket string `yaml:"bucket"`
	// Prefix of all keys; a slash is set behind it. Default: none.
	Prefix string `yaml:"prefix"`
	// Region as the server's signatures have it. Default us-east-1, which servers
	// without regions take.
	Region string `yaml:"region"`
	// AccessKeyFile and SecretKeyFile hold a word each. They are read again each
	// minute, so that a rotation needs no restart.
	AccessKeyFile string `yaml:"access_key_file"`
	SecretKeyFile string `yaml:"secret_key_file"`
	// CAFile is a PEM of who signs the server's certificate. Default: the system's roots.
	CAFile string `yaml:"ca_file"`
	// Connections of each process at once. Default 40: the 32 reads and 8 puts that
	// a vault has under way; each takes 320 KiB.
	Connections int `yaml:"connections"`
	// Rate is how many calls a second each process makes at most; a server that says
	// that it is busy gets fewer. Default 1000.
	Rate    int     `yaml:"rate"`
	Dialect Dialect `yaml:"dialect"`
}

// Dialect is how an s3 target's server differs from AWS. `holdfast target probe`
// finds it out.
type Dialect struct {
	// Style is path (https://host/bucket/key, the default) or host
	// (https://bucket.host/key).
	Style string `yaml:"style"`
	// Checksum that a put carries: crc32c (the default), md5 for older servers, or
	// none, which has the body signed instead.
	Checksum string `yaml:"checksum"`
	// Conditional is whether the server knows If-None-Match. Without it a put asks
	// first whether the object is there. Default true.
	Conditional *bool `yaml:"conditional"`
	// StorageClass of new objects. Default: the bucket's.
	StorageClass string `yaml:"storage_class"`
	// SignAcceptEncoding is false for servers that change this header before they
	// check the signature, such as Google's. Default true.
	SignAcceptEncoding *bool `yaml:"sign_accept_encoding"`
	// Expect is the size from which on a put waits for the server's word before it
	// sends its body; 0: never, for proxies that never give it and cost a second.
	// Default 2MiB.
	Expect *Size `yaml:"expect"`
}

func (t *Target) fill() {
	if t.Kind != "s3" {
		return
	}
	if t.Prefix != "" && !strings.HasSuffix(t.Prefix, "/") {
		t.Prefix += "/"
	}
	t.URL = strings.TrimRight(t.URL, "/")
	t.Region = cmp.Or(t.Region, "us-east-1")
	t.Connections, t.Rate = cmp.Or(t.Connections, 40), cmp.Or(t.Rate, 1000)
	d := &t.Dialect
	d.Style, d.Checksum = cmp.Or(d.Style, "path"), cmp.Or(d.Checksum, "crc32c")
	d.Conditional, d.SignAcceptEncoding = cmp.Or(d.Conditional, new(true)), cmp.Or(d.SignAcceptEncoding, new(true))
	d.Expect = cmp.Or(d.Expect, new(Size(2<<20)))
}

// paths are the files and folders that it names.
func (t *Target) paths() []*string {
	return []*string{&t.Path, &t.AccessKeyFile, &t.SecretKeyFile, &t.CAFile}
}

// Where is the place, as people know it.
func (t *Target) Where() string {
	if t.Kind == "s3" {
		return fmt.Sprintf("%s/%s/%s", t.URL, t.Bucket, t.Prefix)
	}
	return t.Path
}
