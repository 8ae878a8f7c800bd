package vault

import "context"

// seats is how many loads wait for our own limit of a target: of packs of 16 MiB in
// 4+2 they are 64 MiB of memory, and at 10 MiB/s what passes in 6 s. That evens out
// packs that come together.
const seats = 16

// pay waits until our own limit of the target lets the load pass. It waits before
// it has a place, and so before anyone counts how long the target takes to answer:
// a limit of ours is no failure of the target's. over means that the load is owed:
// its parcel is over, or has its quorum while every seat is taken, and what waits
// behind more than a limit can bear would only hold the parcel's record. Neither
// means that the breaker turned.
//
// A whole object is small, and a backup ends with it: it passes at once, and the
// packs pay for it. So does a map pack, as long as no more than a shard of a pack is
// unpaid: windows of all exporters drain through the few that may be on their way.
// One that can't is owed at its quorum.
func (p *parcel) pay(l *lane, o *load, turned <-chan struct{}) (paid, over bool) {
	n := 0
	for _, b := range o.body {
		n += len(b)
	}
	if p.kind == ofSmall {
		l.limit.Spend(n)
		return true, false
	}
	if !l.limit.Limited() {
		return l.limit.Wait(p.life, n) == nil, p.life.Err() != nil
	}
	var hurry <-chan struct{}
	if p.kind == ofMap {
		if l.limit.Jump(n, PackBytes/p.w.v.K) {
			return true, false
		}
		hurry = p.enough
	}
	select {
	case l.seats <- struct{}{}:
		defer func() { <-l.seats }()
	default:
		select {
		case l.seats <- struct{}{}:
			defer func() { <-l.seats }()
		case <-turned:
			return false, false
		case <-p.enough:
			return false, true
		case <-p.life.Done():
			return false, true
		}
	}
	p.own(o)
	ctx, stop := context.WithCancel(p.life)
	defer stop()
	go func() {
		select {
		case <-turned:
		case <-hurry:
		case <-ctx.Done():
		}
		stop()
	}()
	if l.limit.Wait(ctx, n) == nil {
		return true, false
	}
	select {
	case <-turned:
		return false, p.life.Err() != nil
	default:
		return false, true
	}
}
