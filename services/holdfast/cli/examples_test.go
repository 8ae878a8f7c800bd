package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/conf"
)

const examples = "../../../ops/config"

// What ops/config shows is right: nothing is found wrong with it where the files that
// it names are. People start from these, and those who did go on with them: what is
// taken today is taken by every later program.
func TestExamplesAreRight(t *testing.T) {
	files, err := filepath.Glob(examples + "/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			at := filepath.Join(dir, "holdfast.yaml")
			put(t, at, string(b))
			for name, text := range map[string]string{"secrets/kafka": "x", "secrets/passphrase": "x", "secrets/vcenter": "x", "secrets/ledger": "x",
				"keys/vault.pub": "x", "keys/passphrase": "x", "tls/holdfast.pem": "x", "tls/holdfast.key": "x", "tls/ca.pem": ca(t),
				"secrets/e-access": "x", "secrets/e-secret": "x", "secrets/f-access": "x", "secrets/f-secret": "x", "machines/web/disk.raw": "x"} {
				put(t, filepath.Join(dir, name), text)
			}
			out, errs, code := command("check", "--config", at, "-o", "json")
			var said struct{ Findings conf.Findings }
			if err := json.Unmarshal([]byte(out), &said); err != nil || code != 0 || len(said.Findings) > 0 {
				t.Errorf("exit %d, %v: %s%s", code, err, out, errs)
			}
		})
	}
}

// The region's example shows every setting, so that nobody has to read our code.
func TestTheRegionsExampleShowsAll(t *testing.T) {
	b, err := os.ReadFile(examples + "/region.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		for f := range typ.Fields() {
			key := f.Tag.Get("yaml")
			if key == "" {
				continue
			}
			if !strings.Contains(string(b), key+":") {
				t.Errorf("it does not show %s of %s", key, typ)
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[conf.Config]())
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func ca(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
