// Command holdfast is every service of the house in one binary, and its command line.
package main

import (
	"os"
	"runtime/debug"

	"github.com/holdfast-backup/holdfast/services/holdfast/cli"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

func main() {
	if os.Getenv("GOMEMLIMIT") == "" { // which says another
		debug.SetMemoryLimit(house.MemoryLimit())
	}
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
