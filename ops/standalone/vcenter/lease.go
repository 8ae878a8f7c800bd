package vcenter

import (
	"context"
	"hash"
	"net/url"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// lease is the right to read or write a machine's disks by their URLs. It dies
// without progress, and with the session that took it.
type lease struct {
	id      string // in its URLs: who knows it needs no session
	v       *VCenter
	m       *machine
	session string
	export  bool
	host    string
	obj     *leaseX
	c       *simulator.Context
	items   map[string]*item // by TargetId; set before it is ready, as are the urls
	urls    []types.HttpNfcLeaseDeviceUrl
	ctx     context.Context // done: its streams are cut
	cut     context.CancelFunc
	release func()

	mu    sync.Mutex
	timer *time.Timer
	moved int64 // bytes of disks that went through it
	over  bool
	fault types.BaseMethodFault // why it died
}

// item is one file of a lease.
type item struct {
	d      *disk
	f      *frozen // what an export reads
	file   string  // local path of a file that is no disk
	key    string
	url    types.HttpNfcLeaseDeviceUrl
	mu     sync.Mutex
	sum    hash.Hash // SHA-1 of what went over the wire last
	size   int64
	plain  int64
	isDisk bool
}

// leaseX is the object that clients see.
type leaseX struct {
	mo.HttpNfcLease
	l *lease
}

// newLease puts a lease on m into the caller's session, still initializing.
func (v *VCenter) newLease(c *simulator.Context, m *machine, export bool) *lease {
	own := *c
	l := &lease{id: uuid.NewString(), v: v, m: m, session: c.Session.Key, export: export, c: &own, items: map[string]*item{}, release: func() {}}
	l.ctx, l.cut = context.WithCancel(context.Background())
	l.obj = &leaseX{l: l}
	l.obj.Self = types.ManagedObjectReference{Type: "HttpNfcLease", Value: "session[" + c.Session.Key + "]" + l.id}
	l.obj.State = types.HttpNfcLeaseStateInitializing
	l.obj.Mode = string(types.HttpNfcLeaseModePushOrGet)
	c.Session.Put(l.obj)
	return l
}

// machine is nil while an import has not made it yet.
func (l *lease) machine() *machine {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.m
}

// offer names a file of the lease.
func (v *VCenter) offer(l *lease, i *item, target, key, importKey string, size int64) {
	u := v.sideURL
	u.Path = path.Join("/nfc", l.id, target)
	i.key = key
	i.url = types.HttpNfcLeaseDeviceUrl{Key: key, ImportKey: importKey, Url: (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(),
		SslThumbprint: sha1Print(v.ca.host), Disk: types.NewBool(i.isDisk), TargetId: target, DatastoreKey: "ds-key-" + l.m.datastore(), FileSize: size}
	l.items[target] = i
	l.urls = append(l.urls, i.url)
}

// ready lets clients go on; from now on the lease wants progress. One that was
// ended while it was made is let go at once.
func (v *VCenter) ready(l *lease, vm *simulator.VirtualMachine, release func()) {
	info := types.HttpNfcLeaseInfo{Lease: l.obj.Self, Entity: l.m.ref, LeaseTimeout: int32(v.LeaseTimeout / time.Second), DeviceUrl: l.urls}
	for _, i := range l.items {
		if i.isDisk {
			info.TotalDiskCapacityInKB += i.d.size() >> 10
		}
	}
	l.mu.Lock()
	if l.over {
		l.mu.Unlock()
		release()
		v.abandon(l)
		return
	}
	l.release, l.host = release, v.hostOf(vm)
	l.timer = time.AfterFunc(v.LeaseTimeout, func() { v.die(l, &types.Timedout{}) })
	l.mu.Unlock()
	v.count.lease(l.host, 1)
	v.mu.Lock()
	v.leases[l.id] = l
	v.mu.Unlock()
	l.c.WithLock(l.obj, func() {
		l.c.Update(l.obj, []types.PropertyChange{{Name: "state", Val: types.HttpNfcLeaseStateReady}, {Name: "info", Val: info}})
	})
}

// end takes the lease away, once; it reports whether it did.
func (v *VCenter) end(l *lease, fault types.BaseMethodFault) bool {
	l.mu.Lock()
	if l.over {
		l.mu.Unlock()
		return false
	}
	l.over, l.fault = true, fault
	if l.timer != nil {
		l.timer.Stop()
	}
	l.mu.Unlock()
	l.cut()
	v.mu.Lock()
	delete(v.leases, l.id)
	v.mu.Unlock()
	if l.host != "" {
		v.count.lease(l.host, -1)
	}
	l.release()
	return true
}

// die ends a lease that its holder still believes in: it stays to say why. A
// half-imported machine goes with it.
func (v *VCenter) die(l *lease, fault types.BaseMethodFault) {
	if !v.end(l, fault) {
		return
	}
	l.c.WithLock(l.obj, func() {
		l.c.Update(l.obj, []types.PropertyChange{{Name: "state", Val: types.HttpNfcLeaseStateError},
			{Name: "error", Val: types.LocalizedMethodFault{Fault: fault, LocalizedMessage: "The lease is gone."}}})
	})
	v.abandon(l)
}

// abandon destroys the machine of an import that was not completed.
func (v *VCenter) abandon(l *lease) {
	m := l.machine()
	if l.export || m == nil {
		return
	}
	if err := v.Destroy(m.id); err != nil {
		v.Log.Error("destroy a half-imported machine", "machine", m.id, "error", err)
	}
}

// endLeases ends those of one session, or all.
func (v *VCenter) endLeases(sessions ...string) {
	v.mu.Lock()
	var ends []*lease
	for _, l := range v.leases {
		if len(sessions) == 0 || l.session == sessions[0] {
			ends = append(ends, l)
		}
	}
	v.mu.Unlock()
	for _, l := range ends {
		v.die(l, &types.NotAuthenticated{})
	}
}

func (o *leaseX) dead() *soap.Fault {
	o.l.mu.Lock()
	defer o.l.mu.Unlock()
	if o.l.fault != nil {
		return simulator.Fault("The lease has died.", o.l.fault)
	}
	return nil
}

// HttpNfcLeaseProgress keeps the lease alive.
func (o *leaseX) HttpNfcLeaseProgress(c *simulator.Context, req *types.HttpNfcLeaseProgress) soap.HasFault {
	v := o.l.v
	if _, ok := strike(v, o.l.machine(), func(f LeaseDies) bool { return f.After == 0 }); ok {
		v.working.Go(func() { v.die(o.l, &types.Timedout{}) }) // it wants the lock that this call holds
		return &methods.HttpNfcLeaseProgressBody{Fault_: simulator.Fault("The lease has died.", &types.Timedout{})}
	}
	if f := o.dead(); f != nil {
		return &methods.HttpNfcLeaseProgressBody{Fault_: f}
	}
	if req.Percent < 0 || req.Percent > 100 {
		return &methods.HttpNfcLeaseProgressBody{Fault_: simulator.Fault("", invalid("percent"))}
	}
	o.l.mu.Lock()
	if o.l.timer != nil && !o.l.over {
		o.l.timer.Reset(v.LeaseTimeout)
	}
	o.l.mu.Unlock()
	c.Update(o, []types.PropertyChange{{Name: "transferProgress", Val: req.Percent}})
	return &methods.HttpNfcLeaseProgressBody{Res: &types.HttpNfcLeaseProgressResponse{}}
}

// HttpNfcLeaseComplete ends it well.
func (o *leaseX) HttpNfcLeaseComplete(c *simulator.Context, req *types.HttpNfcLeaseComplete) soap.HasFault {
	if f := o.dead(); f != nil {
		return &methods.HttpNfcLeaseCompleteBody{Fault_: f}
	}
	v := o.l.v
	v.end(o.l, nil)
	c.Session.Remove(c, req.This)
	if !o.l.export {
		v.keepOrLog(o.l.m)
	}
	return &methods.HttpNfcLeaseCompleteBody{Res: &types.HttpNfcLeaseCompleteResponse{}}
}

// HttpNfcLeaseAbort ends it and, of an import, the machine.
func (o *leaseX) HttpNfcLeaseAbort(c *simulator.Context, req *types.HttpNfcLeaseAbort) soap.HasFault {
	if f := o.dead(); f != nil {
		return &methods.HttpNfcLeaseAbortBody{Fault_: f}
	}
	v := o.l.v
	if v.end(o.l, nil) {
		v.abandon(o.l)
	}
	c.Session.Remove(c, req.This)
	return &methods.HttpNfcLeaseAbortBody{Res: &types.HttpNfcLeaseAbortResponse{}}
}

// hostOf is the name of a machine's host.
func (v *VCenter) hostOf(vm *simulator.VirtualMachine) string {
	if vm.Runtime.Host != nil {
		if h, ok := v.model.Map().Get(*vm.Runtime.Host).(*simulator.HostSystem); ok {
			return h.Name
		}
	}
	return ""
}

func (m *machine) datastore() string { return filepath.Base(filepath.Dir(m.dir)) }
