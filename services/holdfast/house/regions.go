package house

import (
	"context"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/libs/watch"
)

// ofRegions reports whether a service works for every region that its process serves.
func (s Service) ofRegions() bool { return s.Name == "scheduler" }

// placed says what is wrong with running a service by this file.
func placed(c *conf.Config, s Service) error {
	if c.Region == "" && !s.ofRegions() {
		return conf.Findings{c.Find("region", "is missing: "+s.Name+" works for one region, and this file is of a coordinator; see --stages scheduler")}
	}
	return nil
}

// regions are those that the process serves; nil: its own alone.
func regions(c *conf.Config, stages []stage.Stage) *stage.Regions {
	if len(c.Regions) == 0 {
		return nil
	}
	return stage.NewRegions(c.Serves, stages...)
}

// watchRegions shows which regions are served, until ctx ends: those that are named from
// the beginning, though they may not be there.
func watchRegions(ctx context.Context, c *conf.Config, r *stage.Regions, m *watch.Metrics) {
	served := map[string]bool{}
	show := func(name string) {
		if served[name] {
			return
		}
		served[name] = true
		m.GaugeOf("holdfast_region_served", "1 while this coordinator serves the region; 0: its topics are not there.", map[string]string{"region": name}, func() float64 {
			for _, there := range r.Names() {
				if there == name {
					return 1
				}
			}
			return 0
		})
	}
	for _, name := range c.Named() {
		show(name)
	}
	stop := r.Follow(ctx, func(g stage.Region) func() { show(g.Name); return func() {} })
	<-ctx.Done()
	stop()
}

// alone reports whether the brokers have no region but ours. Parts that were given no
// brokers serve stages that run on somebody else's.
func (p *Parts) alone(ctx context.Context) (bool, error) {
	if p.kafka == nil {
		return true, nil
	}
	cl, err := client.Open(p.Conf.Region, p.kafka...)
	if err != nil {
		return false, err
	}
	defer cl.Close()
	there, err := cl.Regions(ctx)
	return len(there) <= 1, err
}
