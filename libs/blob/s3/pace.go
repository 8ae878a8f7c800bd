package s3

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// paceLeast a second are tried however busy a server is: else nobody would learn
	// that it no longer is.
	paceLeast = 1
	// paceCut is how long after a cut no other follows: what was on its way then is
	// answered by the old pace.
	paceCut = time.Second
	// paceRise: each second without a word the pace grows by a 20th of what was too
	// much, so it is back there after 10 s; beyond twice that, which was a mistake or
	// is long ago, by a 10th of itself.
	paceRise, paceSoar = 20, 10
)

// pace is how many calls a second a server gets: halved when it says that it is
// busy, and a little more each second that it doesn't.
type pace struct {
	limit *rate.Limiter
	most  float64

	mu          sync.Mutex
	toomuch     float64 // what the server was busy with at the last cut
	cut, rose   time.Time
	second      time.Time // when count began
	count, last int       // calls since then, and in the second before
	busy        uint64
}

func newPace(most float64) *pace {
	p := &pace{limit: rate.NewLimiter(0, 1), most: max(most, paceLeast)}
	p.set(p.most)
	return p
}

// set has a tenth of a second's calls begin at once.
func (p *pace) set(perSecond float64) {
	p.limit.SetLimit(rate.Limit(perSecond))
	p.limit.SetBurst(max(1, int(perSecond/10)))
}

func (p *pace) now() float64 { return float64(p.limit.Limit()) }

func (p *pace) slowed() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy
}

func (p *pace) wait(ctx context.Context) error {
	if err := p.limit.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &Fault{Text: "the store is slowed down: " + err.Error()}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tick(time.Now())
	p.count++
	return nil
}

func (p *pace) tick(now time.Time) {
	if passed := now.Sub(p.second); passed >= time.Second {
		p.last = 0
		if passed < 2*time.Second {
			p.last = p.count
		}
		p.count, p.second = 0, now
	}
}

// note takes an answer.
func (p *pace) note(busy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.tick(now)
	if busy {
		if p.busy++; now.Sub(p.cut) < paceCut {
			return
		}
		p.toomuch = min(p.now(), float64(max(p.last, p.count)))
		p.cut, p.rose = now, now
		p.set(max(paceLeast, p.toomuch/2))
		return
	}
	if at := p.now(); at < p.most && now.Sub(p.rose) >= time.Second {
		p.rose = now
		step := max(1, p.toomuch/paceRise)
		if at >= 2*p.toomuch {
			step = at / paceSoar
		}
		p.set(min(p.most, at+step))
	}
}
