package house

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/watch"
)

// spansFor is how long the last spans of a process may take to reach their
// collector: it is gone, or it takes them in milliseconds.
const spansFor = 3 * time.Second

// Run runs services until ctx ends, and then for as long as they need to let go of
// their rooms, or the configuration's grace. Each talks to the others through Kafka
// only: all of them in one process is more goroutines and nothing else.
func Run(ctx context.Context, p *Parts, services []Service, kafka stage.Reach, m *watch.Metrics, h *watch.Health) error {
	if err := Check(p.Conf); err != nil {
		return err
	}
	p.metrics, p.kafka = m, kafka
	var stages, wide []stage.Stage // of one region, and of all that we serve
	for _, s := range services {
		if err := placed(p.Conf, s); err != nil {
			return err
		}
	}
	for _, s := range services {
		opened, err := s.open(p)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		if s.ofRegions() {
			wide = append(wide, opened...)
		} else {
			stages = append(stages, opened...)
		}
	}
	tracer, stop, err := p.tracer(ctx)
	if err != nil {
		return err
	}
	defer stop()
	look := stage.Telemetry(m, h, tracer)
	grace := time.Duration(p.Conf.Grace)
	defer context.AfterFunc(ctx, func() {
		h.Stop()
		p.Log.Info("told to stop", "grace", grace)
	})()
	d := newDrain(grace)
	g, ctx := errgroup.WithContext(ctx)
	env := stage.Env{Region: p.Conf.Region, Worker: worker(), Now: time.Now, Log: p.Log,
		Kafka: kafka, Watch: look, Grace: grace}
	for _, s := range stages {
		g.Go(d.run(s.Name, func() error { return stage.Run(ctx, s, env) }))
	}
	env.Region, env.Regions = p.Conf.Home(), regions(p.Conf, wide)
	if r := env.Regions; r != nil && len(wide) > 0 {
		g.Go(d.run("the look for regions", func() error { return r.Keep(ctx, env) }))
		g.Go(func() error { watchRegions(ctx, p.Conf, r, m); return nil })
	}
	for _, s := range wide {
		run := stage.RunEach
		if s.Coordinates() {
			run = stage.Run
		}
		g.Go(d.run(s.Name, func() error { return run(ctx, s, env) }))
	}
	return d.wait(ctx, g.Wait)
}

// tracer is nil where no collector is configured: then no spans are made. stop
// sends what is left.
func (p *Parts) tracer(ctx context.Context) (t trace.Tracer, stop func(), err error) {
	c := p.Conf.Traces
	if c.Endpoint == "" {
		return nil, func() {}, nil
	}
	t, end, err := watch.Tracer(ctx, c.Endpoint, c.Share, worker())
	if err != nil {
		return nil, nil, fmt.Errorf("traces.endpoint: %w", err)
	}
	return t, func() {
		ctx, cancel := context.WithTimeout(context.Background(), spansFor)
		defer cancel()
		if err := end(ctx); err != nil {
			p.Log.Warn("the last spans are lost", "endpoint", c.Endpoint, "err", err)
		}
	}, nil
}
