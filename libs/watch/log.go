// Package watch is how the house is seen from outside: logs, metrics, health
// and traces. Stages write none of it: the runner counts, times and traces every port.
package watch

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// Logger writes for people if w is a terminal, else JSON, one object a line,
// for whoever gathers logs. Level may be turned while the process runs.
func Logger(w io.Writer, level slog.Leveler) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		opts.ReplaceAttr = short
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

// short leaves the date away: whoever sits before a terminal knows it.
func short(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		a.Value = slog.StringValue(a.Value.Time().Format("15:04:05.000"))
	}
	return a
}
