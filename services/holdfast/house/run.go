package house

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/watch"
)

// Run runs services until ctx ends. Each talks to the others through Kafka only:
// all of them in one process is more goroutines and nothing else.
func Run(ctx context.Context, p *Parts, services []Service, brokers []string, m *watch.Metrics, h *watch.Health) error {
	if err := Check(p.Conf); err != nil {
		return err
	}
	var stages []stage.Stage
	for _, s := range services {
		opened, err := s.open(p)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		stages = append(stages, opened...)
	}
	look := stage.Telemetry(m, h, nil)
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range stages {
		env := stage.Env{Region: p.Conf.Region, Worker: worker(), Now: time.Now, Log: p.Log,
			Kafka: stage.Connect(brokers...), Watch: look}
		g.Go(func() error { return stage.Run(ctx, s, env) })
	}
	return g.Wait()
}
