package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
)

const (
	// floodBlock is about what a room of the recorder sends at once at that rate: 2 s
	// of places, of one of eight rooms.
	floodBlock = 10_000
	// floodDays is where the flood's backups lie: none that is asked for.
	floodDays = 10_000
)

// flood writes places and the events that go with them, at so many places a second,
// until ctx is done. behind says how far the ledger lags: the most of times between
// the moment when a block was due and that when it was there.
type flood struct {
	*fleet
	to     insert
	rate   int
	places atomic.Int64

	mu     sync.Mutex
	behind time.Duration
}

func (f *flood) run(ctx context.Context) error {
	began := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		due := began.Add(time.Duration(n) * time.Second * floodBlock / time.Duration(f.rate))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(due)):
		}
		places, events := f.block(n, due)
		for _, rows := range []ledger.Rows{places, events} {
			if err := f.to(ctx, fmt.Sprint("flood ", began.UnixNano(), n), rows); err != nil && ctx.Err() == nil {
				return err
			}
		}
		f.places.Add(int64(len(places)))
		f.mu.Lock()
		f.behind = max(f.behind, time.Since(due))
		f.mu.Unlock()
	}
	return nil
}

// block is places of eight backups that are under way.
func (f *flood) block(n int, due time.Time) (places ledger.Places, events ledger.Events) {
	for m := range 8 {
		r := f.fleet.run(m*f.Machines/8, floodDays+n/100)
		var filed *ledger.Filed
		for i := range floodBlock / 8 {
			no := n%100*(floodBlock/8) + i
			if i%recordRows == 0 {
				filed = r.filed(r.origin("places.filed", due, no/recordRows), no)
			}
			c := chunk{own, uint64(m), uint64(floodDays + n), uint64(no)}
			places = append(places, ledger.Place{Filed: filed, Place: uint64(no), Places: 1, LengthBytes: grid, Chunk: f.name(c), Outcome: ledger.Fresh, Pack: f.pack(c), StoredBytes: uint32(20_000 + no)})
			if i%eventShare == 0 {
				w := works[i%len(works)]
				events = append(events, ledger.Event{Origin: r.origin(w.topic, due, no), Stage: w.stage, Worker: "w", Attempt: r.attempt(), WaitUs: w.waitUs, BusyUs: w.busyUs, Bytes: 45 * grid, Chunks: 45})
			}
		}
	}
	return places, events
}

// during asks while rows come in.
func (e *engine) during(ctx context.Context, f *fleet, rate, times int) ([]figure, *flood, float64, error) {
	fl := &flood{fleet: f, to: e.write.Insert, rate: rate}
	flow, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- fl.run(flow) }()
	figures, err := ask(ctx, e.read, f.askings(), times, nil)
	took := time.Since(began).Seconds()
	stop()
	if e := <-ended; err == nil {
		err = e
	}
	return figures, fl, float64(fl.places.Load()) / took, err
}
