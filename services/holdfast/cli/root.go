// Package cli is the command line, which people script against: results go to
// stdout and all else to stderr, -o never changes the exit code, and what is
// printed to a pipe has no colour, no header and no cutting.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/holdfast-backup/holdfast/libs/conf"
)

// app is what every command needs.
type app struct {
	in       io.Reader
	out, err io.Writer
	terminal bool // out is one
	format   string
	data     string
	config   string
}

// Main runs the command line and returns the exit code.
func Main(args []string, in io.Reader, out, err io.Writer) int {
	ctx, stop := told(err)
	defer stop()
	a := &app{in: in, out: out, err: err, terminal: isTerminal(out)}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(err)
	return a.exit(root.ExecuteContext(ctx))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "holdfast",
		Short: "Backs up every machine of a private cloud, and restores it",
		Example: "  holdfast demo                                  the whole walk, shown and checked\n" +
			"  holdfast up --images /srv/vms --target /mnt/a --target /mnt/b --target /mnt/c",
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	f := root.PersistentFlags()
	f.StringVarP(&a.format, "output", "o", "table", "table or json")
	f.StringVar(&a.data, "data", defaultData(), "folder of the one-machine mode (HOLDFAST_DATA)")
	f.StringVar(&a.config, "config", "", "configuration file; default <data>/holdfast.yaml")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.format != "table" && a.format != "json" {
			return usage(fmt.Errorf("-o %s is not known; there are table and json", a.format))
		}
		return nil
	}
	root.AddCommand(a.commands()...)
	for _, c := range root.Commands() {
		named(c)
	}
	return root
}

// named makes wrong arguments of c and below a usage error.
func named(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage(err)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		named(sub)
	}
}

func defaultData() string {
	if dir := os.Getenv("HOLDFAST_DATA"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "holdfast-data"
	}
	return home + "/.local/share/holdfast"
}

// Exit codes. Any other is a failure.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 3
	exitStopped = 130
)

// coded is an error with an exit code of its own.
type coded struct {
	code int
	error
}

func (c coded) Unwrap() error { return c.error }

func usage(err error) error   { return coded{exitUsage, err} }
func refused(err error) error { return coded{exitRefused, err} }

// quiet ends with a code and says nothing more: it was all said.
func quiet(code int) error { return coded{code, nil} }

// isBadConfiguration reports whether a file of ours is wrong, which is the caller's to
// mend, as a bad argument is.
func isBadConfiguration(err error) bool {
	_, bad := errors.AsType[conf.Findings](err)
	return bad
}

func (a *app) exit(err error) int {
	if err == nil {
		return 0
	}
	code := exitFailed
	c, ok := errors.AsType[coded](err)
	switch {
	case ok && c.error == nil:
		return c.code
	case ok:
		code = c.code
	case isUnknownCommand(err), isBadConfiguration(err):
		code = exitUsage
	}
	if a.format == "json" {
		a.printJSON(a.err, map[string]any{"error": map[string]any{"code": code, "message": err.Error()}})
	} else {
		fmt.Fprintf(a.err, "holdfast: %v\n", err)
	}
	return code
}
