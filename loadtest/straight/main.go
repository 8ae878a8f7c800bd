// Command straight does the work of a backup straight-line: the same bytes, with the
// house's own libraries, without Kafka, staging and ledger. It is what the walk's own
// cost is measured against.
//
//	straight -vault DIR FOLDER...
//
// Each folder holds machines as the images source takes them. They are backed up one
// after another into one new vault in DIR; for each a line of JSON says what it cost.
// What was stored is known to the later ones, as it is to a house that stays up. Each
// machine gets a point, so `holdfast vault --at` restores what was written here; with
// -check every machine is read back and compared, which is not part of the price.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/libs/seal"
)

// figure is what one folder cost.
type figure struct {
	Folder string  `json:"folder"`
	Wall   float64 `json:"wall_s"`
	CPU    float64 `json:"cpu_s"`
	Read   int64   `json:"read_bytes"`
	Fresh  int64   `json:"fresh_bytes"`
	Stored int64   `json:"stored_bytes"` // in packs and map packs, before parity
}

func main() {
	dir := flag.String("vault", "", "folder of a new vault; keys are made and forgotten")
	codec := flag.String("compression", string(seal.MethodZstd), "zstd-fastest, zstd-default, minlz or none")
	check := flag.Bool("check", false, "read every machine back and compare")
	flag.Parse()
	if *dir == "" || flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, seal.Method(*codec), *check, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "straight:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, codec seal.Method, check bool, folders []string) error {
	s, err := open(ctx, dir, codec)
	if err != nil {
		return err
	}
	defer s.writer.Close()
	for _, folder := range folders {
		begun, before := time.Now(), cpu()
		f, err := s.backup(ctx, folder)
		if err != nil {
			return fmt.Errorf("back up %s: %w", folder, err)
		}
		f.Folder, f.Wall, f.CPU = folder, time.Since(begun).Seconds(), cpu()-before
		if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
			return err
		}
		if check {
			if err := s.check(ctx, folder); err != nil {
				return fmt.Errorf("check %s: %w", folder, err)
			}
		}
	}
	return nil
}

// cpu is the user and system seconds of this process.
func cpu() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
