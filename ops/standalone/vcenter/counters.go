package vcenter

import (
	"maps"
	"sort"
	"sync"
)

// Gauge is how many there are, and how many there were at most.
type Gauge struct{ Now, Peak int }

// Counters are what the vCenter saw its clients do.
type Counters struct {
	Machine, Host, Datastore map[string]Gauge // open snapshots, by instance UUID and by name
	Leases                   map[string]Gauge // open leases, by host
	Connections              map[string]Gauge // NFC transfers at once, by host
	Snapshots, Streams       Gauge            // open snapshots, and NFC transfers, of all together
	Open                     []string         // snapshots open now: "machine/snapshot", sorted

	NFC, NFCWire int64 // bytes of disks read through NFC, and what went over the wire for them
	Folder       int64 // bytes of disks read through /folder
	Named        int64 // bytes that QueryChangedDiskAreas named since an id; not those of "*"
	Uploaded     int64 // bytes of disks written through NFC
	Put          int64 // bytes of disks written through /folder
	Queries      int   // answers of QueryChangedDiskAreas
}

type counts struct {
	mu sync.Mutex
	c  Counters
}

// Counters returns a copy.
func (v *VCenter) Counters() Counters {
	v.count.mu.Lock()
	c := v.count.c
	c.Machine, c.Host, c.Datastore = maps.Clone(c.Machine), maps.Clone(c.Host), maps.Clone(c.Datastore)
	c.Leases, c.Connections = maps.Clone(c.Leases), maps.Clone(c.Connections)
	v.count.mu.Unlock()

	v.mu.Lock()
	all := make([]*machine, 0, len(v.machines))
	for _, m := range v.machines {
		all = append(all, m)
	}
	v.mu.Unlock()
	for _, m := range all {
		m.mu.Lock()
		for _, s := range m.snaps {
			c.Open = append(c.Open, m.spec.Name+"/"+s.name)
		}
		m.mu.Unlock()
	}
	sort.Strings(c.Open)
	return c
}

// Forget sets what was counted to zero, and peaks to what there is now.
func (v *VCenter) Forget() {
	v.count.mu.Lock()
	defer v.count.mu.Unlock()
	old := v.count.c
	v.count.c = Counters{Snapshots: old.Snapshots.anew(), Streams: old.Streams.anew()}
	for _, p := range []struct{ from, to *map[string]Gauge }{
		{&old.Machine, &v.count.c.Machine}, {&old.Host, &v.count.c.Host}, {&old.Datastore, &v.count.c.Datastore},
		{&old.Leases, &v.count.c.Leases}, {&old.Connections, &v.count.c.Connections}} {
		for k, g := range *p.from {
			add(p.to, k, g.Now)
		}
	}
}

// plus is the gauge with n more.
func (g Gauge) plus(n int) Gauge { return Gauge{g.Now + n, max(g.Peak, g.Now+n)} }

func (g Gauge) anew() Gauge { return Gauge{g.Now, g.Now} }

func add(m *map[string]Gauge, key string, n int) {
	if n == 0 {
		return
	}
	if *m == nil {
		*m = map[string]Gauge{}
	}
	(*m)[key] = (*m)[key].plus(n)
}

func (c *counts) snapshots(m *machine, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	add(&c.c.Machine, m.id, n)
	add(&c.c.Host, m.spec.Host, n)
	add(&c.c.Datastore, m.datastore(), n)
	c.c.Snapshots = c.c.Snapshots.plus(n)
}

func (c *counts) lease(host string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	add(&c.c.Leases, host, n)
}

func (c *counts) connection(host string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	add(&c.c.Connections, host, n)
	c.c.Streams = c.c.Streams.plus(n)
}

// bytes changes the byte counts in one step.
func (c *counts) bytes(f func(*Counters)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.c)
}
