package kafkatest

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

//go:embed pom.xml
var pom []byte

//go:embed install.sh
var script []byte

// home is where a broker is installed. It is made once, in HOLDFAST_CACHE (default
// ~/.cache/holdfast), under a name that says what made it: "make kafka" does the
// same. Without java or mvn the test is skipped, in one line.
func home(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("no Kafka under -short: real brokers take seconds")
	}
	cache := os.Getenv("HOLDFAST_CACHE")
	if cache == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			t.Fatal("no Kafka: ", err)
		}
		cache = filepath.Join(user, ".cache", "holdfast")
	}
	made := fmt.Sprintf("%x", sha256.Sum256(append(pom[:len(pom):len(pom)], script...)))
	dir := filepath.Join(cache, "kafka-"+made[:12])
	_, java := exec.LookPath("java")
	_, mvn := exec.LookPath("mvn")
	if java != nil {
		t.Skip("no Kafka, so nothing here is tested on real brokers: ", java)
	}
	if installed(dir) {
		return dir
	}
	if mvn != nil {
		t.Skip("no Kafka, so nothing here is tested on real brokers: ", mvn)
	}
	if err := install(cache, dir); err != nil {
		t.Fatal("no Kafka: ", err)
	}
	return dir
}

func installed(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "bootstrap.checkpoint"))
	return err == nil
}

// install runs the script, one process at a time.
func install(cache, dir string) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	lock, err := os.Create(dir + ".lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if installed(dir) {
		return nil
	}
	tmp, err := os.MkdirTemp("", "kafkatest")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	at, run := filepath.Join(tmp, "pom.xml"), filepath.Join(tmp, "install.sh")
	if err := errors.Join(os.WriteFile(at, pom, 0o600), os.WriteFile(run, script, 0o700)); err != nil {
		return err
	}
	if out, err := exec.Command("sh", run, at, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("install: %w: %s", err, cmp.Or(string(out), "it says nothing"))
	}
	return nil
}
