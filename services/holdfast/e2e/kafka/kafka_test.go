package kafka

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/stage/kafkatest"
)

// One cluster serves all: three brokers take both cores to start, and their topics
// are many. The tests run one after another.
func TestOnRealBrokers(t *testing.T) {
	c := kafkatest.Start(t, 3)
	binary := filepath.Join(t.TempDir(), "holdfast")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/holdfast-backup/holdfast/services/holdfast").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	t.Run("topics", func(t *testing.T) { topicsApply(t, c, binary) })
	t.Run("walk", func(t *testing.T) { walk(t, c, binary) })
	t.Run("door", func(t *testing.T) { door(t, c, binary) })
}
