package main

import (
	"encoding/hex"
	"strconv"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/schemas"
)

// asking is one question as people ask it, of another thing each time.
type asking struct {
	Name string // of holdfast ledger
	Of   string // what kind of thing is asked for
	args func(i int) []string
}

// askings are all questions, each with what is easy and what is hard for it.
func (f *fleet) askings() []asking {
	id := func(u schemas.UUID) []string { return []string{u.String()} }
	backup := func(m, d int) []string { return id(f.run(m%f.Machines, d).attempt().Backup) }
	some := func(i int) int { return int(f.hash(0, uint64(i)) % uint64(f.Machines)) }
	users := func(name string, of func(c chunk) string) []asking {
		use := func(what string, c func(i int) chunk, limit int) asking {
			return asking{name, what, func(i int) []string { return []string{of(c(i)), strconv.Itoa(limit)} }}
		}
		return []asking{
			use("fresh lately", func(i int) chunk { return f.aFresh(some(i), i%f.Days) }, 100),
			use("of the image", func(i int) chunk { return chunk{kind: shared, n: uint64(i * 997)} }, 100),
			use("of all, limit 100", func(i int) chunk { return chunk{kind: common, n: uint64(i % hot)} }, 100),
			use("of all, limit 1000", func(i int) chunk { return chunk{kind: common, n: uint64(i % hot)} }, 1000),
			use("of none", func(i int) chunk { return chunk{kind: 77, n: uint64(i) * packChunks} }, 100),
		}
	}
	fixed := func(args ...string) func(int) []string { return func(int) []string { return args } }
	all := []asking{
		{"machine", "by name", func(i int) []string { return []string{f.machine(some(i)).Name} }},
		{"machine", "that runs, by id", func(i int) []string { return []string{f.machine(i % f.running()).ID} }},
		{"where", "of this week", func(i int) []string { return backup(some(i), i%f.Days) }},
		{"where", "that runs", func(i int) []string { return backup(i%f.running(), 0) }},
		{"where", "of long ago", func(i int) []string { return backup(some(i), f.History-1-i) }},
		{"where", "of none", func(i int) []string { return id(f.id(99, uint64(i))) }},
		{"waiting", "", fixed()},
		{"no-good-backup", "1 to 2 days", func(i int) []string { return []string{strconv.Itoa(24 + i)} }},
		{"failures", "1 day", fixed("24")},
		{"failures", "30 days", fixed("720")},
		{"slowest", "1 day", fixed("24", "20")},
		{"slowest", "30 days", fixed("720", "100")},
		{"throughput", "15 minutes", fixed("15")},
		{"throughput", "1 day", fixed("1440")},
		{"bottleneck", "15 minutes", fixed("15")},
		{"bottleneck", "1 hour", fixed("60")},
		{"bottleneck", "1 day", fixed("1440")},
		{"outcomes", "of this week", func(i int) []string { return backup(some(i), i%f.Days) }},
		{"outcomes", "full", func(i int) []string { return id(f.aFull(i).attempt().Backup) }},
		{"gaps", "7 days", fixed("7")},
		{"retries", "5 minutes", fixed("5")},
		{"refusals", "1 day", fixed("24")},
		{"tables", "", fixed()},
	}
	all = append(all, users("chunk-users", func(c chunk) string { name := f.name(c); return hex.EncodeToString(name[:]) })...)
	return append(all, users("pack-users", func(c chunk) string { return f.pack(c).String() })...)
}

// running is how many machines are being backed up: the first ones.
func (f *fleet) running() int {
	n := 0
	for n < f.Machines && !f.run(n, 0).ended() {
		n++
	}
	return max(1, n)
}

// aFresh is a chunk that a backup of that day was the first to cut: machine m's, or
// that of a later one.
func (f *fleet) aFresh(m, d int) chunk {
	for i := range f.Machines {
		r := f.run((m+i)%f.Machines, d)
		for n := hot; n < f.Rows/2; n++ { // of a failed one, too
			if c, outcome := r.cut(n); outcome == ledger.Fresh && r.ended() {
				return c
			}
		}
	}
	return chunk{}
}

// aFull is the i-th full backup of the days that have places.
func (f *fleet) aFull(i int) run {
	for n := range f.Machines * f.Days {
		if r := f.run(n%f.Machines, n/f.Machines); r.full() && r.ended() {
			if i--; i < 0 {
				return r
			}
		}
	}
	return f.run(0, f.Days-1)
}
