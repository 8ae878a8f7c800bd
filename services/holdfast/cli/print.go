package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
)

// isUnknownCommand knows cobra's own words, which have no type.
func isUnknownCommand(err error) bool {
	return strings.HasPrefix(err.Error(), "unknown command") || strings.HasPrefix(err.Error(), "required flag")
}

// table prints rows: aligned under a header on a terminal, tabs and nothing else
// in a pipe. With -o json it prints v.
func (a *app) table(v any, header []string, rows [][]string) error {
	if a.format == "json" {
		return a.printJSON(a.out, v)
	}
	if !a.terminal {
		for _, r := range rows {
			for i := range r {
				r[i] = safe(r[i])
			}
			if _, err := fmt.Fprintln(a.out, strings.Join(r, "\t")); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(header, "\t"))
	for _, r := range rows {
		for i := range r {
			r[i] = safe(r[i])
		}
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	return w.Flush()
}

func (a *app) printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if a.terminal {
		e.SetIndent("", "  ")
	}
	return e.Encode(v)
}

// say tells a person what happens; it is no result.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.err, format+"\n", args...) }

// safe keeps one value on one line and away from the terminal's controls: a
// machine may be named anything.
func safe(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r == '\r' {
			return ' '
		}
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// bytesOf prints a size for people; pipes get plain numbers elsewhere.
func (a *app) bytesOf(n uint64) string {
	if !a.terminal {
		return fmt.Sprint(n)
	}
	return human(n)
}

func human(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
