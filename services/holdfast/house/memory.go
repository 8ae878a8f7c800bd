package house

import (
	"runtime"

	"github.com/holdfast-backup/holdfast/services/exporter"
	"github.com/holdfast-backup/holdfast/services/uploader"
)

// What lives in a process of all stages is buffers. In MiB:
const (
	readerMiB = 20 // of the exporter: an extent, and a page beyond it
	packMiB   = 24 // of the uploader: a pack and its parity
	coreMiB   = 42 // of the compressor-encryptor: a pack being filled, and extents being read
	otherMiB  = 60 // index, rooms, what is on its way to the ledger
	// spareMiB is what the collector may let lie between two collections. With less
	// of it it does nothing but collect: with 10 it took 38 % of the CPU.
	spareMiB = 80
)

// atOnce is how many readers, or packs under way, a process has by default: more
// than twice the cores wait for cores, and each costs memory.
func atOnce(most, cores int) int { return min(most, 2*cores) }

func exporterDefault() exporter.Config {
	c := exporter.Default()
	c.Readers = atOnce(c.Readers, runtime.GOMAXPROCS(0))
	return c
}

func uploaderDefault() uploader.Config {
	c := uploader.Default()
	c.AtOnce = atOnce(c.AtOnce, runtime.GOMAXPROCS(0))
	return c
}

// MemoryLimit is where the collector begins to work harder, in bytes, so that a
// process of all stages stays below 512 MB on two cores: 400 MiB, and 60 of the
// program itself. The collector's usual wait, for the heap to double, would make
// 700. It has room for what settings of this default may fill.
func MemoryLimit() int64 { return memoryLimit(runtime.GOMAXPROCS(0)) }

func memoryLimit(cores int) int64 {
	readers, packs := atOnce(exporter.Default().Readers, cores), atOnce(uploader.Default().AtOnce, cores)
	return int64(readers*readerMiB+packs*packMiB+cores*coreMiB+otherMiB+spareMiB) << 20
}
