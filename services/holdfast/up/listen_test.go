package up

import (
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/watch"
)

// The address is that of last time, as long as nobody else has it, and answers.
func TestMetricsAddressIsKept(t *testing.T) {
	data := t.TempDir()
	open := func(c *conf.Config) (at string, stop func()) {
		t.Helper()
		at, stop, err := listen(c, data, watch.NewMetrics(), &watch.Health{}, slog.Default())
		if err != nil {
			t.Fatal(err)
		}
		got, err := http.Get("http://" + at + "/metrics")
		if err != nil || got.StatusCode != http.StatusOK {
			t.Errorf("%s: %v, %v", at, got, err)
		}
		if err == nil {
			got.Body.Close()
		}
		return at, stop
	}
	first, stop := open(&conf.Config{})
	stop()
	again, stop := open(&conf.Config{})
	stop()
	if host, _, _ := net.SplitHostPort(first); again != first || host != "127.0.0.1" {
		t.Errorf("first %s, then %s", first, again)
	}
	other, err := net.Listen("tcp", first)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	third, stop := open(&conf.Config{})
	stop()
	if third == first {
		t.Errorf("%s is another's", third)
	}
	if _, _, err := listen(&conf.Config{Metrics: conf.Metrics{Listen: first}}, data, watch.NewMetrics(), &watch.Health{}, slog.Default()); err == nil {
		t.Error("the configuration's address is taken, and another was used in silence")
	}
}
