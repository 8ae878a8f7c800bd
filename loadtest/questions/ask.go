package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
)

// figure is what one kind of asking took. Times are in ms.
type figure struct {
	Name   string  `json:"question"`
	Of     string  `json:"of,omitempty"`
	P50    float64 `json:"p50_ms"`
	P95    float64 `json:"p95_ms"`
	Max    float64 `json:"max_ms"`
	CPU    float64 `json:"cpu_p50_ms"` // of the engine
	Rows   uint64  `json:"read_rows"`  // the median
	Read   uint64  `json:"read_bytes"` // the median
	Memory int64   `json:"memory_bytes"`
	Answer int     `json:"answer_rows"` // the median
}

// once asks one question once.
func once(ctx context.Context, l *ledger.Ledger, q asking, i int) (ledger.Answer, error) {
	args := q.args(i)
	a, err := l.Ask(ctx, q.Name, args...)
	if err != nil {
		return a, fmt.Errorf("%s %v: %w", q.Name, args, err)
	}
	return a, nil
}

// ask asks all questions so many times, in turn and each time in another order, so
// that none finds only its own traces in the caches. before, if there, goes before each.
func ask(ctx context.Context, l *ledger.Ledger, all []asking, times int, before func() error) ([]figure, error) {
	got := make([][]ledger.Answer, len(all))
	dice := rand.New(rand.NewPCG(1, 1))
	for i := range times {
		for _, n := range dice.Perm(len(all)) {
			if before != nil {
				if err := before(); err != nil {
					return nil, err
				}
			}
			a, err := once(ctx, l, all[n], i)
			if err != nil {
				return nil, err
			}
			got[n] = append(got[n], a)
		}
	}
	figures := make([]figure, len(all))
	for n, q := range all {
		figures[n] = sum(q, got[n])
	}
	return figures, nil
}

func sum(q asking, got []ledger.Answer) figure {
	ms := func(a ledger.Answer) float64 { return float64(a.Cost.Took) / float64(time.Millisecond) }
	f := figure{Name: q.Name, Of: q.Of,
		P50: nth(got, 0.5, ms), P95: nth(got, 0.95, ms), Max: nth(got, 1, ms), CPU: nth(got, 0.5, func(a ledger.Answer) float64 { return float64(a.Cost.CPU) / float64(time.Millisecond) }),
		Rows: nth(got, 0.5, func(a ledger.Answer) uint64 { return a.Cost.ReadRows }), Read: nth(got, 0.5, func(a ledger.Answer) uint64 { return a.Cost.ReadBytes }),
		Memory: nth(got, 1, func(a ledger.Answer) int64 { return a.Cost.MemoryBytes }), Answer: nth(got, 0.5, func(a ledger.Answer) int { return len(a.Rows) })}
	return f
}

// nth is the value that a share of all are not above.
func nth[V int | int64 | uint64 | float64](all []ledger.Answer, share float64, of func(ledger.Answer) V) V {
	vs := make([]V, len(all))
	for i, a := range all {
		vs[i] = of(a)
	}
	slices.Sort(vs)
	return vs[min(len(vs)-1, int(share*float64(len(vs))))]
}
