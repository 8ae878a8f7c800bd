package cli

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// lookBack is how far before now a wait begins to read: a job may be older than
// its waiter.
const lookBack = 24 * time.Hour

// follow shows a job's progress until all its backups have ended.
func (a *app) follow(ctx context.Context, cl *client.Client, id schemas.UUID) (*job, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	show := a.progress()
	defer show.end()
	js := jobs{}
	for rec, err := range both(ctx, cl, lookBack) {
		if err != nil {
			return nil, err
		}
		j := js.hear(rec)
		if j == nil || j.ID != id {
			continue
		}
		show.see(j)
		if j.over() {
			return j, nil
		}
	}
	return nil, ctx.Err()
}

// both follows what is told of backups, in the order in which it comes.
func both(ctx context.Context, cl *client.Client, age time.Duration) func(yield func(client.Record, error) bool) {
	return func(yield func(client.Record, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		type heard struct {
			rec client.Record
			err error
		}
		in := make(chan heard)
		for _, s := range []topics.Spec{topics.BackupsProgressed.Spec, topics.BackupsCompleted.Spec} {
			go func() {
				for rec, err := range cl.Follow(ctx, s, age) {
					select {
					case in <- heard{rec, err}:
					case <-ctx.Done():
						return
					}
				}
			}()
		}
		for {
			select {
			case h := <-in:
				if !yield(h.rec, h.err) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// progress shows a job to a person (bars) or a log (lines).
type progress interface {
	see(*job)
	end()
}

func (a *app) progress() progress {
	if a.terminal && a.format != "json" {
		return &bars{pool: mpb.New(mpb.WithOutput(a.err), mpb.WithWidth(40)), by: map[schemas.UUID]*bar{}}
	}
	return &lines{app: a, said: map[schemas.UUID]string{}}
}

// maxBars on one screen; the backups beyond end silently and are in the result.
const maxBars = 10

type bars struct {
	pool *mpb.Progress
	by   map[schemas.UUID]*bar
}

type bar struct {
	*mpb.Bar
	name  string
	state atomic.Pointer[string] // read by who draws
}

const barScale = 1000

func (p *bars) see(j *job) {
	for id, b := range j.Backups {
		line := p.by[id]
		if line == nil {
			if len(p.by) >= maxBars {
				continue
			}
			line = &bar{name: safe(b.machine().Path())}
			line.state.Store(new(string))
			line.Bar = p.pool.AddBar(barScale, mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return line.name + " " })),
				mpb.AppendDecorators(decor.Percentage(), decor.Any(func(decor.Statistics) string { return " " + *line.state.Load() })))
			p.by[id] = line
		}
		state := b.state()
		line.state.Store(&state)
		line.SetCurrent(int64(b.share() * barScale))
		if b.End != nil {
			line.Abort(false)
		}
	}
}

func (p *bars) end() {
	for _, b := range p.by {
		b.Abort(false)
	}
	p.pool.Wait()
}

// lines says each change of state once.
type lines struct {
	app  *app
	said map[schemas.UUID]string
}

func (p *lines) see(j *job) {
	for id, b := range j.Backups {
		state := b.state()
		if p.said[id] == state {
			continue
		}
		p.said[id] = state
		if p.app.format == "json" {
			p.app.printJSON(p.app.out, map[string]any{"progress": map[string]any{"job": j.ID, "backup": id, "machine": b.machine(), "state": state}})
			continue
		}
		p.app.say("%s", fmt.Sprintf("%s %s %.8s %s %s", time.Now().UTC().Format(time.RFC3339), safe(b.machine().Path()), j.ID, state, safe(b.reason())))
	}
}

func (p *lines) end() {}
