package up

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/watch"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

// anyPort is loopback: what is asked there says how much is backed up of whom.
const anyPort = "127.0.0.1:0"

// listen serves metrics where the configuration says, else on the loopback port of
// last time, so that what people wrote into their Prometheus goes on working, else
// on any.
func listen(c *conf.Config, data string, m *watch.Metrics, h *watch.Health, log *slog.Logger) (at string, stop func(), err error) {
	if c.Metrics.Listen != "" {
		return house.Listen(c.Metrics.Listen, m, h, log)
	}
	kept := filepath.Join(data, "metrics-address")
	if b, err := os.ReadFile(kept); err == nil {
		if at, stop, err := house.Listen(strings.TrimSpace(string(b)), m, h, log); err == nil && at != "" {
			return at, stop, nil
		}
	}
	if at, stop, err = house.Listen(anyPort, m, h, log); err != nil {
		return "", nil, err
	}
	if err := os.WriteFile(kept, []byte(at+"\n"), 0o600); err != nil {
		stop()
		return "", nil, fmt.Errorf("keep the metrics' address: %w", err)
	}
	return at, stop, nil
}
