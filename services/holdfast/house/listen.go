package house

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/holdfast-backup/holdfast/libs/watch"
)

// Listen serves metrics and health at addr, host:port, until stop; nowhere, if addr
// is empty. at is the address in the end.
func Listen(addr string, m *watch.Metrics, h *watch.Health, log *slog.Logger) (at string, stop func(), err error) {
	if addr == "" {
		return "", func() {}, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, fmt.Errorf("metrics.listen: %w", err)
	}
	s := &http.Server{Handler: watch.Handler(m, h), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are not served any more", "err", err)
		}
	}()
	return l.Addr().String(), func() { s.Close() }, nil
}
