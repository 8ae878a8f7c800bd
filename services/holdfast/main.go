// Command holdfast is every service of the house in one binary, and its command line.
package main

import (
	"os"
	"runtime/debug"

	"github.com/holdfast-backup/holdfast/services/holdfast/cli"
)

// memoryLimit is where the collector begins to work harder, so that a process
// stays below 512 MB, of which 60 are the program itself. What lives is buffers,
// bounded by settings: 8 readers of 20 MiB, 8 packs of 24 MiB with parity, 2 being
// filled, 2 extents being cut: 420 MiB at most, and 300 in a full backup of 200
// machines, whose collections are 100 MB of garbage apart. The collector's usual
// wait, for the heap to double, would make 700 of them. GOMEMLIMIT says another.
const memoryLimit = 400 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
