// Command mutants proves the tests: it breaks the house once for each entry of
// the lists beside it, and wants the test that the entry names to fall.
//
//	mutants [-only REGEXP] [-list]
//
// The tree is never touched: a broken copy of one file takes its place by
// `go build -overlay`, for the test's own build and for what the test builds.
// First each test must pass with nothing broken. A mutant counts as fallen if
// its test was built, ran, and failed; one that lives, or does not build, makes
// the exit 1. How lists are written: libs/mutant.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"text/tabwriter"
	"time"

	"github.com/holdfast-backup/holdfast/libs/mutant"
)

func main() {
	only := flag.String("only", "", "mutants whose list or name has this `regexp`")
	list := flag.Bool("list", false, "say which there are, and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ok, err := run(ctx, *only, *list)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, list bool) (ok bool, err error) {
	all, err := chosen(only)
	if err != nil {
		return false, err
	}
	if list {
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		for _, m := range all {
			fmt.Fprintf(w, "%s\t%v\t%s %s\n", m.Name, m.Laws, m.Package, m.Test)
		}
		return true, w.Flush()
	}
	dir, err := os.MkdirTemp("", "holdfast-mutants-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	l := lab{dir: dir, sound: map[string]error{}}
	lives := 0
	fmt.Printf("%-50s %-9s %-60s %-6s %s\n", "mutant", "law", "test", "", "seconds")
	for _, m := range all {
		began := time.Now()
		said, fell, err := l.try(ctx, m)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		word := "fell"
		if err != nil {
			word, said = "BROKEN", err.Error()
		} else if !fell {
			word = "LIVES"
		}
		if word != "fell" {
			lives++
		}
		fmt.Printf("%-50s %-9s %-60s %-6s %4.0f  %s\n", m.Name, join(m.Laws), m.Package+" "+m.Test, word, time.Since(began).Seconds(), said)
	}
	fmt.Printf("%d of %d mutants fell\n", len(all)-lives, len(all))
	return lives == 0, nil
}

// chosen are the mutants of all lists that only names, in the order of the lists.
func chosen(only string) (some []mutant.Mutant, err error) {
	want, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	lists, err := filepath.Glob(mutant.Lists)
	if err != nil || len(lists) == 0 {
		return nil, fmt.Errorf("no lists at %s (run in the top folder): %v", mutant.Lists, err)
	}
	for _, name := range lists {
		all, err := mutant.Read(name)
		if err != nil {
			return nil, err
		}
		for _, m := range all {
			if want.MatchString(name) || want.MatchString(m.Name) {
				some = append(some, m)
			}
		}
	}
	return some, nil
}

func join(laws []string) (s string) {
	for i, l := range laws {
		if i > 0 {
			s += ","
		}
		s += l
	}
	return s
}
