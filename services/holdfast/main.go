// Command holdfast is every service of the house in one binary, and its command line.
package main

import (
	"os"

	"github.com/holdfast-backup/holdfast/services/holdfast/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
