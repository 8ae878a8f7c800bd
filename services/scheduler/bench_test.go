package scheduler

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// The scheduler's cost must not grow with the machines of a room but by a
// logarithm: compare the lines of 1000 and of 20000 of each benchmark. All
// machines but those leased wait, 50 slots are taken, and hosts and datastores
// have limits: what midnight looks like. On busy cores, when each grant and tick
// walked over all: a tick 0.67 and 13.9 ms, a backup 36 and 1569 us. In lines: a tick
// 0.02 and 0.93 ms, nearly all of it the count of positions once a minute, spread
// over sixty; a backup 146 and 147 us, on cores four times as busy.

func BenchmarkTick(b *testing.B) {
	sizes(b, func(b *testing.B, c *crowd) {
		for b.Loop() {
			c.now = c.now.Add(time.Second)
			c.do(func(fx *effects) { c.s.tick(c.now, fx) })
		}
	})
}

// BenchmarkOrder takes an order that must wait.
func BenchmarkOrder(b *testing.B) {
	sizes(b, func(b *testing.B, c *crowd) {
		for b.Loop() {
			c.add()
		}
	})
}

// BenchmarkGrant ends a backup, grants its slots to the next, and takes another
// order: the sum of all inputs that one backup costs.
func BenchmarkGrant(b *testing.B) {
	sizes(b, func(b *testing.B, c *crowd) {
		for b.Loop() {
			m := c.open[0]
			c.open = c.open[1:]
			c.end(m)
			c.add()
		}
	})
}

func sizes(b *testing.B, f func(*testing.B, *crowd)) {
	for _, n := range []int{1000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { f(b, newCrowd(n)) })
	}
}

// crowd is a source with n machines on hosts and datastores, all ordered.
type crowd struct {
	s     *state
	now   time.Time
	n     int
	ids   uint64
	open  []*machine
	words int
}

func newCrowd(n int) *crowd {
	c := &crowd{now: time.UnixMilli(1_800_000_000_000)}
	c.s = newState(Default().Limits, func() (u schemas.UUID) {
		c.ids++
		binary.BigEndian.PutUint64(u[8:], c.ids)
		return u
	})
	c.s.sourceFound("a", &schemas.SourceFound{SnapshotsMax: 50, ShareBytes: 80, WindowBytes: 1, PerHost: 4, PerDatastore: 8})
	c.s.epochTurned(&schemas.EpochTurned{Epoch: 1, Turn: schemas.EpochTurned_TURN_OPENED})
	for range n {
		c.add()
	}
	return c
}

func (c *crowd) add() {
	i := c.n
	c.n++
	id := fmt.Sprint("m", i)
	c.s.machineFound("a\n"+id, &schemas.MachineFound{Host: fmt.Sprint("h", i%64), Datastores: []string{fmt.Sprint("d", i*7%40)}})
	q := orderOf(i, id)
	q.Tenant = fmt.Sprint("t", i%3)
	q.Policy = []string{"", "daily", "hourly"}[i%7%3]
	q.Options.NotAfterMs = c.now.Add(24 * time.Hour).UnixMilli()
	c.do(func(fx *effects) {
		if err := c.s.ordered(q, c.now, fx); err != nil {
			panic(err)
		}
	})
}

func (c *crowd) end(m *machine) {
	run := m.row.GetOpen().GetRun()
	c.do(func(fx *effects) {
		c.s.judged(&schemas.BackupJudged{Run: run, Machine: m.row.GetMachine(), Word: &schemas.BackupJudged_Verdict{Verdict: &schemas.Verdict{
			Status: schemas.Status_STATUS_COMPLETED}}}, c.now, fx)
	})
	for _, w := range []schemas.ExportEnded_Word{snapshotRemoved, dirRemoved} {
		c.do(func(fx *effects) {
			c.s.exported(&schemas.ExportEnded{Run: run, Machine: m.row.GetMachine(), Word: w}, c.now, fx)
		})
	}
}

func (c *crowd) do(input func(*effects)) {
	var fx effects
	input(&fx)
	for _, w := range fx.then {
		c.words++
		if w.GetVerb() == schemas.BackupLeased_VERB_LEASED {
			c.open = append(c.open, c.s.machine(w.GetMachine()))
		}
	}
}
