package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/holdfast-backup/holdfast/schemas"
)

// report is what a run counted. Bytes are bytes, CPU is in seconds of one core.
type report struct {
	Machines int       `json:"machines"`
	Size     int64     `json:"sizeBytes"`
	Used     int64     `json:"usedBytes"`
	Change   float64   `json:"change"`
	Common   float64   `json:"common"`
	Alike    float64   `json:"alike"`
	Images   int       `json:"images"`
	Seed     uint64    `json:"seed"`
	Slots    int       `json:"slots"`
	Split    bool      `json:"split"`
	Rounds   []*round  `json:"rounds"`
	Start    restarted `json:"start"` // the second one
	Ledger   string    `json:"ledger"`

	Compared      int   `json:"restoresCompared"`
	ComparedBytes int64 `json:"comparedBytes"`
	RestorePeak   int64 `json:"restorePeakBytes"`

	faults
}

// restarted is what a stop and a start in order took.
type restarted struct {
	StopSeconds float64            `json:"stopSeconds"`
	Seconds     float64            `json:"seconds"`
	CPU         map[string]float64 `json:"cpuSeconds"`
	Peak        map[string]int64   `json:"peakBytes"`
}

// round is what one request for all machines took.
type round struct {
	Name   string         `json:"name"`
	Status map[string]int `json:"status"`
	Kept   int            `json:"windowsKept"`
	Again  int            `json:"secondAttempts"`
	P50    float64        `json:"p50Seconds"` // from its lease to completed
	P99    float64        `json:"p99Seconds"`
	Max    float64        `json:"maxSeconds"`

	WallSeconds float64                  `json:"wallSeconds"` // from the request to the last end
	RestSeconds float64                  `json:"restSeconds"` // from then until nothing was left to do
	CPUSeconds  float64                  `json:"cpuSeconds"`
	Collector   float64                  `json:"collectorShare"` // of the CPU that is not the ledger's
	IdleCPU     float64                  `json:"idleCores"`
	CPU         map[string]float64       `json:"cpuSecondsByProcess"`
	Stages      map[string]*stageFigures `json:"stages"`
	Lag         map[string]float64       `json:"lagMost"`
	Memory      int64                    `json:"memoryMostBytes"` // of all processes at one moment
	Peak        map[string]int64         `json:"peakBytes"`
	Files       map[string]int           `json:"filesOpenMost"`
	KafkaBytes  int64                    `json:"kafkaBytes"` // produced, before compression
	KafkaLog    int64                    `json:"kafkaLogBytes"`
	VaultBytes  int64                    `json:"vaultBytes"` // added, with parity
	Bytes       schemas.BackupBytes      `json:"bytes"`

	faults
}

// stageFigures are of one stage. Busy is what it says with each record of its own
// work, in seconds of a worker; handler is what its handlers took, what they left to
// workers not counted.
type stageFigures struct {
	Inputs         float64 `json:"inputs"`
	BusySeconds    float64 `json:"busySeconds"`
	HandlerSeconds float64 `json:"handlerSeconds"`
}

// faults are what must not be.
type faults struct {
	Faults int      `json:"faults"`
	Told   []string `json:"told,omitempty"` // the first of them
}

// toldMost of the faults of a round are kept in words.
const toldMost = 5

func (f *faults) fault(format string, a ...any) {
	f.Faults++
	if len(f.Told) < toldMost {
		f.Told = append(f.Told, fmt.Sprintf(format, a...))
		fmt.Fprintf(os.Stderr, "FAULT  "+format+"\n", a...)
	}
}

func newReport(o options) *report {
	return &report{Machines: o.machines, Size: int64(o.size), Used: int64(o.used), Change: o.change, Common: o.common, Alike: o.alike,
		Images: o.images, Seed: o.seed, Slots: o.slots, Split: o.split}
}

// right says whether every backup completed inside its window, and nothing differs.
func (r *report) right() bool {
	n := r.Faults
	for _, one := range r.Rounds {
		n += one.Faults
		if one.Kept != r.Machines {
			n++
		}
	}
	return n == 0 && len(r.Rounds) > 0
}

const gib = 1 << 30

func mib(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

func (r *report) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	defer w.Flush()
	row := func(what, format string, a ...any) { fmt.Fprintf(w, "%s\t%s\n", what, fmt.Sprintf(format, a...)) }
	row("machines", "%d of %s, %s used, clones of %d images; a version changes %v; %d at once; seed %d", r.Machines, mib(r.Size), mib(r.Used), r.Images, r.Change, r.Slots, r.Seed)
	for _, one := range r.Rounds {
		fmt.Fprintln(w)
		one.print(row, r.Machines)
	}
	fmt.Fprintln(w)
	row("ledger", "%s", r.Ledger)
	row("restores", "%d of the last round compared, %s; the largest took %s of memory", r.Compared, mib(r.ComparedBytes), mib(r.RestorePeak))
	row("stop and start", "%.1f s, and %.1f s until ready; CPU %s; memory %s", r.Start.StopSeconds, r.Start.Seconds, seconds(r.Start.CPU), bytesOf(r.Start.Peak))
	row("faults", "%d", r.Faults)
}

func (r *round) print(row func(what, format string, a ...any), machines int) {
	row("round", "%s", r.Name)
	row("  completed", "%d of %d; %d windows kept; %d took more than one attempt", r.Status["completed"], machines, r.Kept, r.Again)
	row("  lease to completed", "p50 %.1f s, p99 %.1f s, max %.1f s", r.P50, r.P99, r.Max)
	row("  wall", "%.1f s, and %.1f s until nothing was left to do", r.WallSeconds, r.RestSeconds)
	row("  CPU", "%.1f s: %.0f ms a machine, %.2f s a GiB read; at rest %.3f of a core", r.CPUSeconds, 1000*r.CPUSeconds/float64(machines), r.CPUSeconds/(float64(r.Bytes.Read)/gib), r.IdleCPU)
	row("    by process", "%s; the garbage collector had %.1f %% of what is not the ledger's", seconds(r.CPU), 100*r.Collector)
	for _, name := range slices.Sorted(maps.Keys(r.Stages)) {
		s := r.Stages[name]
		row("    "+name, "%.0f inputs, busy %.1f s (%.2f s a GiB read), in handlers %.1f s", s.Inputs, s.BusySeconds, s.BusySeconds/(float64(r.Bytes.Read)/gib), s.HandlerSeconds)
	}
	row("  memory", "%s at one moment; peaks: %s", mib(r.Memory), bytesOf(r.Peak))
	row("  files open", "%v", r.Files)
	row("  lag, at most", "%s", most(r.Lag))
	row("  read", "%s: %s fresh, %s known; %s stored", mib(int64(r.Bytes.Read)), mib(int64(r.Bytes.Fresh)), mib(int64(r.Bytes.Known)), mib(int64(r.Bytes.Stored)))
	row("  vault", "%s with parity", mib(r.VaultBytes))
	row("  Kafka", "%s produced, %.1f KiB a machine; its log has %s", mib(r.KafkaBytes), float64(r.KafkaBytes)/1024/float64(machines), mib(r.KafkaLog))
	row("  faults", "%d", r.Faults)
}

func seconds(all map[string]float64) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		words = append(words, fmt.Sprintf("%s %.1f s", name, all[name]))
	}
	return strings.Join(words, ", ")
}

func bytesOf(all map[string]int64) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		words = append(words, fmt.Sprintf("%s %s", name, mib(all[name])))
	}
	return strings.Join(words, ", ")
}

// lagTold is how many of the largest lags a table has; JSON has all.
const lagTold = 8

func most(lag map[string]float64) string {
	names := slices.Collect(maps.Keys(lag))
	slices.SortFunc(names, func(a, b string) int { return int(lag[b] - lag[a]) })
	var words []string
	for _, name := range names[:min(lagTold, len(names))] {
		words = append(words, fmt.Sprintf("%s %.0f", name, lag[name]))
	}
	return strings.Join(words, ", ")
}
