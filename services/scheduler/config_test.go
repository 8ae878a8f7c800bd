package scheduler

import (
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/conf"
)

// Settings are read over the defaults, also those of the inlined struct.
func TestConfigSection(t *testing.T) {
	c, got := &conf.Config{Stages: map[string]any{"scheduler": map[string]any{"silence": "20m", "attempts": 3, "listing": "2s"}}}, Default()
	if err := c.Section("scheduler", &got); err != nil {
		t.Fatal(err)
	}
	if got.Silence != 20*time.Minute || got.Attempts != 3 || got.Listing != 2*time.Second || got.Cap != 72*time.Hour {
		t.Errorf("got %+v", got)
	}
}
