package scheduler

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// site is one vCenter, which counts for itself what is open there.
type site struct {
	name                         string
	limit                        *schemas.SourceFound
	slow                         float64 // how many times longer everything takes
	snapshots, dirs, connections int
	hosts, datastores, policies  map[string]int
	peak                         struct{ snapshots, dirs, connections, host, datastore int }
}

// guest is a machine there.
type guest struct {
	key    string
	found  *schemas.MachineFound
	site   *site
	tenant string
	plan   *rule
	takes  time.Duration // a backup that goes well
	bad    bool          // it fails more often than not
	lease  *lease        // its newest
	wants  *want         // what its policy waits for; nil: nothing
	points int           // completed
	last   time.Time     // completed
	gap    time.Duration // the longest between two
	why    string        // it was so long
}

func (g *guest) machine() *schemas.Machine {
	source, id, _ := strings.Cut(g.key, "\n")
	return &schemas.Machine{Source: source, Id: id}
}

// build makes sources and machines. Some hosts and datastores have far more than
// their part, so that their limits count.
func (f *fleet) build(machines int) {
	each := machines / fleetSites
	slots := uint32(max(4, each/100))
	for i := range fleetSites {
		at := &site{name: fmt.Sprint("vc-", i), slow: 1, hosts: map[string]int{}, datastores: map[string]int{}, policies: map[string]int{}}
		at.limit = &schemas.SourceFound{SnapshotsMax: slots, PerHost: 3, PerDatastore: uint32(3 + i%2), Connections: []uint32{0, slots - 1}[i%2],
			WindowBytes: 1 << 29, ShareBytes: uint64(slots+slots/4) << 29}
		f.sites = append(f.sites, at)
	}
	for n := range machines {
		at := f.sites[n%fleetSites]
		g := &guest{key: fmt.Sprintf("%s\nvm-%05d", at.name, n), site: at, tenant: fmt.Sprint("tenant-", n%5), bad: n%997 == 0}
		g.found = f.placed(max(4, each/40), max(3, each/100))
		g.takes = time.Duration(20+f.rand.ExpFloat64()*40) * time.Second
		if n%300 == 7 {
			g.takes = time.Duration(40+f.rand.IntN(80)) * time.Minute
		}
		g.plan = f.policies[ruleOf(n)]
		g.found.Machine, g.found.Tags = g.machine(), []string{g.plan.name}
		f.guests = append(f.guests, g)
		f.byKey[g.key] = g
	}
}

func (f *fleet) placed(hosts, datastores int) *schemas.MachineFound {
	pick := func(n int) int {
		if f.rand.IntN(8) == 0 {
			return 0 // everybody's favourite
		}
		return f.rand.IntN(n)
	}
	m := &schemas.MachineFound{Host: fmt.Sprint("h", pick(hosts)), Datastores: []string{fmt.Sprint("d", pick(datastores))}}
	if f.rand.IntN(10) == 0 {
		m.Datastores = append(m.Datastores, fmt.Sprint("d", pick(datastores)))
	}
	return m
}

// count keeps a site's books, and holds its limits.
func (f *fleet) count(l *lease, snapshot, dir, connection bool) {
	at := l.g.site
	by := func(was *bool, is bool, n *int) {
		switch {
		case is && !*was:
			*n++
		case !is && *was:
			*n--
		}
	}
	if snapshot != l.snapshot {
		one := map[bool]int{true: 1, false: -1}[snapshot]
		at.policies[l.word.GetPolicy()] += one
		if l.at.host != "" {
			at.hosts[l.at.host] += one
			at.peak.host = max(at.peak.host, at.hosts[l.at.host])
		}
		for _, d := range l.at.datastores {
			at.datastores[d] += one
			at.peak.datastore = max(at.peak.datastore, at.datastores[d])
		}
	}
	by(&l.snapshot, snapshot, &at.snapshots)
	by(&l.dir, dir, &at.dirs)
	by(&l.connection, connection, &at.connections)
	l.snapshot, l.dir, l.connection = snapshot, dir, connection
	p := &at.peak
	p.snapshots, p.dirs, p.connections = max(p.snapshots, at.snapshots), max(p.dirs, at.dirs), max(p.connections, at.connections)
	over := func(what string, n int, limit uint64) {
		if limit != 0 && uint64(n) > limit {
			f.t.Fatalf("%s: %d %s, at most %d, after %s of %v", at.name, n, what, limit, f.now.Sub(f.began), l.g.key)
		}
	}
	over("snapshots", at.snapshots, uint64(at.limit.SnapshotsMax))
	over("folders", at.dirs, at.limit.ShareBytes/at.limit.WindowBytes)
	over("connections", at.connections, uint64(at.limit.Connections))
	over("backups of policy bounded", at.policies["bounded"], 3)
	over("snapshots on host "+l.at.host, at.hosts[l.at.host], uint64(at.limit.PerHost))
	for _, d := range l.at.datastores {
		over("snapshots on datastore "+d, at.datastores[d], uint64(at.limit.PerDatastore))
	}
}
