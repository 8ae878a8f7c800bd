package rate

import (
	"context"
	"math"
	"sync"
	"time"
)

// Limiter lets bytes pass as its plan says, in the order in which they came. A nil
// one lets all pass. Its methods may be called from many goroutines.
type Limiter struct {
	plan Plan
	turn chan struct{} // of who waits first; the others stand behind it, in order

	mu      sync.Mutex
	rate    float64   // this process's, until then
	until   time.Time // when the plan is asked again
	paid    time.Time // up to when debt was paid off
	debt    float64   // bytes that passed and are not paid off: the next passes when there is none
	shares  map[string]float64
	changed chan struct{} // closed and made anew with the shares
	passed  uint64
	waited  time.Duration
}

// New returns the limiter of a plan; nil where the plan has no limit at any time.
func New(p Plan) *Limiter {
	if !p.Limits() {
		return nil
	}
	return &Limiter{plan: p, turn: make(chan struct{}, 1), paid: time.Now(), shares: map[string]float64{}, changed: make(chan struct{})}
}

// Wait returns when n bytes may pass, all at once, or with the context's cause. Who
// gives up has taken nothing.
func (l *Limiter) Wait(ctx context.Context, n int) error {
	if l == nil {
		return nil
	}
	begun := time.Now()
	defer func() {
		l.mu.Lock()
		l.waited += time.Since(begun)
		l.mu.Unlock()
	}()
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-l.turn }()
	for ctx.Err() == nil {
		wait, changed := l.pass(n)
		if wait == 0 {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return context.Cause(ctx)
}

// Spend is Wait for what is too small and too urgent to stand in line: it passes at
// once, and who comes after pays for it.
func (l *Limiter) Spend(n int) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pay(time.Now())
	l.take(n)
}

// Jump is Spend where no more than owed bytes are still to be paid off: who is urgent
// goes before those in line, and is no burst. It reports whether n passed.
func (l *Limiter) Jump(n, owed int) bool {
	if l == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pay(time.Now()); l.debt > float64(owed) {
		return false
	}
	l.take(n)
	return true
}

// pass takes n bytes, or says how long to wait before the next try.
func (l *Limiter) pass(n int) (wait time.Duration, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.pay(now)
	if l.debt <= 0 {
		l.take(n)
		return 0, nil
	}
	due := time.Duration(math.Ceil(l.debt / l.rate * float64(time.Second)))
	return max(1, min(due, l.until.Sub(now))), l.changed
}

func (l *Limiter) take(n int) {
	l.passed += uint64(n)
	if l.rate > 0 {
		l.debt += float64(n)
	}
}

// pay pays debt off up to now, at the rate that held, and sees what holds from here.
// Nothing is saved up: who did not use the rate does not get more of it later.
func (l *Limiter) pay(now time.Time) {
	for l.paid.Before(now) {
		if !l.paid.Before(l.until) {
			l.ask(l.paid)
		}
		to := now
		if l.until.Before(now) && l.debt > 0 {
			to = l.until
		}
		if l.debt -= l.rate * to.Sub(l.paid).Seconds(); l.debt < 0 || l.rate == 0 {
			l.debt = 0
		}
		l.paid = to
	}
	if ahead := l.until.Sub(now); ahead <= 0 || ahead > time.Minute { // that far if the clock was set back
		l.ask(now)
	}
	if l.rate == 0 {
		l.debt = 0
	}
}

// ask asks the plan what holds at t, and takes this process's share of it.
func (l *Limiter) ask(t time.Time) {
	whole, until := l.plan.At(t)
	l.rate, l.until = float64(whole)*l.share(), until
}

// share is this process's: all of it while no stage has said.
func (l *Limiter) share() (sum float64) {
	if len(l.shares) == 0 {
		return 1
	}
	for _, s := range l.shares {
		sum += s
	}
	return sum
}

// Share sets how much of the whole limit a stage of this process has, above 0 and
// at most 1. It holds at once, for those who wait, too.
func (l *Limiter) Share(stage string, part float64) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.pay(now) // at the old one
	l.shares[stage] = part
	l.ask(now)
	close(l.changed)
	l.changed = make(chan struct{})
}

// Limited reports whether there is a limit now.
func (l *Limiter) Limited() bool { return l.Now() > 0 }

// Now is how many bytes a second this process may pass; 0: no limit.
func (l *Limiter) Now() float64 {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pay(time.Now())
	return l.rate
}

// Passed is how many bytes passed.
func (l *Limiter) Passed() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passed
}

// Waited is how long callers of Wait were kept waiting, together.
func (l *Limiter) Waited() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waited
}
