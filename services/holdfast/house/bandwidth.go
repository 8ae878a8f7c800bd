package house

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/rate"
	"github.com/holdfast-backup/holdfast/services/scheduler"
)

// A target's limit is for packs, which uploaders put, and for map packs and points,
// which auditors put: those are 3 % of what is stored of changed machines (PROTOCOLS G),
// and a sixteenth of the limit is enough for 500 pages a second at 20 MiB/s. A process
// that has rooms of both stages uses both shares for either.
const (
	uploaderPart = 15. / 16
	auditorPart  = 1. / 16
)

// limiters has one for each name whose bandwidth is limited at any time.
type limiters map[string]*rate.Limiter

func (p *Parts) limiters(kind string, plans map[string]rate.Plan) limiters {
	all := limiters{}
	for name, plan := range plans {
		l := rate.New(plan)
		if l == nil {
			continue
		}
		all[name] = l
		if p.metrics == nil {
			continue
		}
		labels := map[string]string{kind: name}
		at := "holdfast_" + kind + "_bandwidth_"
		p.metrics.GaugeOf(at+"bytes", "Bytes a second that this process may pass now: its share of the configured bandwidth. 0: no limit now.", labels, l.Now)
		p.metrics.GaugeOf(at+"passed_bytes", "Bytes that passed the limit since this process began.", labels, func() float64 { return float64(l.Passed()) })
		p.metrics.GaugeOf(at+"waited_seconds", "How long reads or puts waited for the limit since this process began, together.", labels,
			func() float64 { return l.Waited().Seconds() })
	}
	return all
}

// all is for who shares them.
func (l limiters) all() (all []*rate.Limiter) {
	for _, one := range l {
		all = append(all, one)
	}
	return all
}

func sourcePlans(c *conf.Config) map[string]rate.Plan {
	plans := map[string]rate.Plan{}
	for i := range c.Sources {
		plans[c.Sources[i].Name] = c.Sources[i].Bandwidth.Plan()
	}
	return plans
}

func targetPlans(c *conf.Config) map[string]rate.Plan {
	plans := map[string]rate.Plan{}
	for i := range c.Vault.Targets {
		plans[c.Vault.Targets[i].Name] = c.Vault.Targets[i].Bandwidth.Plan()
	}
	return plans
}

// Bandwidth says in lines what bandwidth holds at t, of each source and target that
// has a limit at any time; and where the targets' is so low that it fails backups.
func Bandwidth(c *conf.Config, t time.Time) (lines []string) {
	say := func(kind, name string, p rate.Plan) {
		if p.Limits() {
			lines = append(lines, fmt.Sprintf("%s %s: %s", kind, name, p.Describe(t)))
		}
	}
	for i := range c.Sources {
		say("source", c.Sources[i].Name, c.Sources[i].Bandwidth.Plan())
	}
	for i := range c.Vault.Targets {
		say("target", c.Vault.Targets[i].Name, c.Vault.Targets[i].Bandwidth.Plan())
	}
	if note := drains(c); note != "" {
		lines = append(lines, note)
	}
	return lines
}

// drains says so if a full staging share lands too slowly: packs land with the q-th
// fastest target, k data shards at a time, and who comes last waits for all that was
// read before, while its lease counts as silent. The lowest rates of all times count.
func drains(c *conf.Config) string {
	var rates []rate.Rate
	for _, p := range targetPlans(c) {
		rates = append(rates, p.Lowest())
	}
	k := c.Vault.Shards.K
	q := min(k+1, k+c.Vault.Shards.M)
	slices.SortFunc(rates, func(a, b rate.Rate) int { return cmp.Or(b2i(a != 0)-b2i(b != 0), cmp.Compare(b, a)) })
	if q == 0 || len(rates) < q || rates[q-1] == 0 || len(c.Staging) == 0 { // a coordinator has none of these
		return ""
	}
	s := scheduler.Default()
	if err := c.Section("scheduler", &s); err != nil {
		return "" // Check says so
	}
	land := rates[q-1] * rate.Rate(k)
	took := time.Duration(float64(c.Staging[0].Size) / float64(land) * float64(time.Second))
	if took <= s.Silence {
		return ""
	}
	return fmt.Sprintf("note: with %d of %d targets limited so, a full staging share of %v takes %v to land, and a lease that is silent for %v is ended: make staging[0].size smaller than %v, or the rate higher",
		len(rates)-q+1, len(rates), c.Staging[0].Size, took.Round(time.Minute), s.Silence, conf.Size(float64(land)*s.Silence.Seconds())>>20<<20)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
