package conf

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bucket is the second target of the good file, as a bucket.
const bucket = `    - name: b
      kind: s3
      url: https://s3.example.org:9000
      bucket: holdfast-b
      prefix: eu-1
      access_key_file: secret
      secret_key_file: secret
`

func withBucket(old, new string) string {
	return strings.Replace(good, "    - {name: b, kind: file, path: vault/b}\n", strings.Replace(bucket, old, new, 1), 1)
}

func TestBucketDefaults(t *testing.T) {
	path := write(t, withBucket("", ""))
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	b := c.Vault.Targets[1]
	if d := b.Dialect; b.Region != "us-east-1" || b.Connections != 40 || b.Rate != 1000 || d.Style != "path" || d.Checksum != "crc32c" || !*d.Conditional || !*d.SignAcceptEncoding || *d.Expect != 2<<20 {
		t.Errorf("defaults: %+v %+v", b, d)
	}
	if b.Where() != "https://s3.example.org:9000/holdfast-b/eu-1/" || b.SecretKeyFile != filepath.Join(filepath.Dir(path), "secret") {
		t.Errorf("it is at %s, its key in %s", b.Where(), b.SecretKeyFile)
	}
	c, err = Load(write(t, withBucket("prefix: eu-1", "region: auto\n      connections: 8\n      dialect: {style: host, checksum: none, conditional: false, storage_class: COLD, sign_accept_encoding: false, expect: 0}")))
	if err != nil {
		t.Fatal(err)
	}
	b = c.Vault.Targets[1]
	if d := b.Dialect; b.Region != "auto" || b.Connections != 8 || d.Style != "host" || d.Checksum != "none" || *d.Conditional || d.StorageClass != "COLD" || *d.SignAcceptEncoding || *d.Expect != 0 {
		t.Errorf("what is said is not kept: %+v %+v", b, d)
	}
}

// Each line breaks a bucket's section once; the message names line, key and cause.
func TestBadBucketIsNamed(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"typo", "bucket:", "buckett:", `unknown field "buckett"`},
		{"typo in the dialect", "prefix: eu-1", "dialect: {styel: host}", `unknown field "styel"`},
		{"no url", "      url: https://s3.example.org:9000\n", "", ":10: vault.targets[1].url: is missing"},
		{"odd url", "https://", "https://a:geheim@%zz", ":12: vault.targets[1].url: is no URL: invalid"},
		{"keys in the url", "https://", "https://a:geheim@", "vault.targets[1].url: holds keys"},
		{"scheme", "https://", "s3://", `"s3://s3.example.org:9000" is not https://host`},
		{"bucket in the url", ":9000", ":9000/b", "the bucket has its own field"},
		{"no bucket", "      bucket: holdfast-b\n", "", "vault.targets[1].bucket: is missing"},
		{"bucket", "holdfast-b", "a/b", `:13: vault.targets[1].bucket: "a/b" is no bucket's name`},
		{"prefix", "prefix: eu-1", "prefix: /eu", `:14: vault.targets[1].prefix: "/eu/" is no prefix`},
		{"hidden prefix", "prefix: eu-1", "prefix: a/.b", `vault.targets[1].prefix: `},
		{"region", "prefix: eu-1", "region: eu 1", `vault.targets[1].region: "eu 1" is no region`},
		{"no key", "      access_key_file: secret\n", "", "vault.targets[1].access_key_file: is missing"},
		{"key file", "secret_key_file: secret", "secret_key_file: nowhere", ":16: vault.targets[1].secret_key_file: open "},
		{"empty key", "secret_key_file: secret", "secret_key_file: empty", "empty is empty"},
		{"ca", "prefix: eu-1", "ca_file: secret", "vault.targets[1].ca_file: "},
		{"ca over http", "url: https://s3.example.org:9000", "ca_file: secret\n      url: http://x", "is of no use: http://x has no certificate"},
		{"connections", "prefix: eu-1", "connections: -1", "vault.targets[1].connections: -1 is not from 1 to 1000"},
		{"rate", "prefix: eu-1", "rate: -1", "vault.targets[1].rate: -1 calls a second"},
		{"path", "prefix: eu-1", "path: vault/b", "vault.targets[1].path: is not of a target of kind s3"},
		{"style", "prefix: eu-1", "dialect: {style: dns}", `:14: vault.targets[1].dialect.style: "dns" is not one of path, host`},
		{"checksum", "prefix: eu-1", "dialect: {checksum: sha1}", `"sha1" is not one of crc32c, md5, none`},
		{"class", "prefix: eu-1", "dialect: {storage_class: a b}", `vault.targets[1].dialect.storage_class: "a b"`},
		{"expect", "prefix: eu-1", "dialect: {expect: 2MB}", `"2MB" is not a size`},
		{"of a folder", "name: b\n      kind: s3", "name: b\n      kind: file\n      path: vault/b", `:13: vault.targets[1].url: is not of a target of kind file`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(write(t, withBucket(c.old, c.new)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "geheim") {
				t.Errorf("a secret is told: %v", err)
			}
		})
	}
	// Two targets in one place, or one inside the other.
	first := strings.Replace(bucket, "name: b", "name: a", 1)
	for prefix, bad := range map[string]bool{"eu-1": true, "eu-1/x": true, "eu-2": false, "eu-11": false} {
		text := strings.Replace(withBucket("prefix: eu-1", "prefix: "+prefix), "    - {name: a, kind: file, path: vault/a}\n", first, 1)
		if _, err := Load(write(t, text)); bad != (err != nil) || err != nil && !strings.Contains(err.Error(), "is in the place of target a") {
			t.Errorf("prefixes eu-1 and %s of one bucket: %v", prefix, err)
		}
	}
}

// After a disaster the file names shares and sources that are gone, and some
// targets may be left out of it.
func TestTargetsAlone(t *testing.T) {
	path := write(t, "staging: [{share: /nowhere, window: 1MiB}]\nsources: [{name: x, kind: images, path: /nowhere}]\nvault:\n  shards: {k: 4, m: 2}\n  targets:\n"+bucket)
	all, err := LoadTargets(path)
	if err != nil || len(all) != 1 || all[0].AccessKeyFile != filepath.Join(filepath.Dir(path), "secret") || all[0].Connections != 40 {
		t.Errorf("%+v, %v", all, err)
	}
	for text, want := range map[string]string{"region: x": "x.yaml: vault.targets: there are none", "vault: {targets: [{name: a, kind: tape}]}": `x.yaml:1: vault.targets[0].kind: "tape"`, "vaullt: {}": `unknown field "vaullt"`} {
		path := filepath.Join(t.TempDir(), "x.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var bad Findings
		if _, err := LoadTargets(path); !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
}

func TestTargetURL(t *testing.T) {
	dir := filepath.Dir(write(t, good))
	t.Chdir(dir)
	got, err := ParseTarget("s3://holdfast-b/eu-1?url=https://s3.example.org&access_key_file=secret&secret_key_file=secret&style=host&conditional=false&expect=0&rate=5")
	if err != nil || got.Where() != "https://s3.example.org/holdfast-b/eu-1/" || got.AccessKeyFile != filepath.Join(dir, "secret") || got.Dialect.Style != "host" ||
		*got.Dialect.Conditional || *got.Dialect.Expect != 0 || got.Rate != 5 || got.Region != "us-east-1" {
		t.Errorf("%+v, %v", got, err)
	}
	const rest = "?url=https://x&access_key_file=secret&secret_key_file=secret"
	for text, want := range map[string]string{
		"s3://b/eu" + rest: "bucket", "s3://AKIA:geheim@bucket/eu" + rest: "keys are in files", "s3://bucket/eu" + rest + "&secret_key=geheim": `unknown field "secret_key"`,
		"s3://bucket/eu" + rest + "&url=y": "url is there 2 times", "s3://bucket/../eu" + rest: "prefix", "s3://bucket?url=https://x": "access_key_file: is missing",
		"s3://bucket": "url: is missing", "s3://bucket" + rest + "&rate=many": "no number", "s3://bucket" + rest + "&conditional=often": "neither true nor false",
		"s3://bucket" + rest + "&expect=2MB": "not a size", "s3:bucket" + rest: "no kind of target", "s3://bucket/%zz?secret=geheim": "no target", "gs://bucket?key=geheim": `"gs" is no kind of target`,
	} {
		if _, err := ParseTarget(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("s3://bucket/prefix?url=https://x&access_key_file=a&secret_key_file=b&expect=0&conditional=false&connections=3")
	f.Add("s3://a:b@bucket")
	f.Add("s3:///%2f?url=%zz")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := ParseTarget(s); err == nil && (got.Bucket == "" || !prefixRule.MatchString(got.Prefix)) {
			t.Errorf("%q is %+v", s, got)
		}
	})
}
