package vsphere

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	// leaseBeat is how often a lease hears from us at least; it dies after its own
	// timeout, 5 minutes as a rule, of which a quarter is the most that we wait.
	leaseBeat = 30 * time.Second
	// leaseReady bounds how long a vCenter may take to open the disks.
	leaseReady = 5 * time.Minute
)

// lease is one export lease of a snapshot: all its disks, each by a URL. While it
// is held the machine can't be moved, and it dies unless it hears from us.
type lease struct {
	s    *Source
	c    *vim25.Client
	name string // the order's
	ref  types.ManagedObjectReference
	info types.HttpNfcLeaseInfo
	all  int64        // bytes that may be read
	read atomic.Int64 // bytes that were

	stop context.CancelFunc // of the beat
	done chan struct{}

	mu     sync.Mutex
	died   error
	broken bool // a stream of it failed
}

// export opens a lease on the snapshot, once for all of its disks.
func (n *snapshot) export(ctx context.Context) (*lease, error) {
	if n.lease != nil {
		return n.lease, nil
	}
	m := n.m
	res, err := methods.ExportSnapshot(ctx, m.c, &types.ExportSnapshot{This: n.node.Snapshot})
	if err != nil {
		return nil, n.lost(ctx, "export snapshot "+n.order.Name, err)
	}
	l := &lease{s: m.s, c: m.c, name: n.order.Name, ref: res.Returnval, done: make(chan struct{})}
	for _, x := range n.disks {
		l.all += x.size
	}
	if err := l.ready(ctx); err != nil {
		l.give(context.WithoutCancel(ctx), true)
		return nil, m.fail("export snapshot "+n.order.Name, err)
	}
	beat, stop := context.WithCancel(context.Background())
	l.stop = stop
	m.s.mu.Lock()
	if m.s.leases[l.name] == nil {
		m.s.leases[l.name] = map[*lease]bool{}
	}
	m.s.leases[l.name][l] = true
	m.s.mu.Unlock()
	go l.beat(beat)
	n.lease = l
	return l, nil
}

// ready waits until the lease is.
func (l *lease) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, leaseReady, fmt.Errorf("the lease is not ready after %s", leaseReady))
	defer cancel()
	pc := property.DefaultCollector(l.c)
	for pause := askFirst; ; pause = min(2*pause, askMax) {
		var now mo.HttpNfcLease
		if err := pc.RetrieveOne(ctx, l.ref, []string{"state", "info", "error"}, &now); err != nil {
			return err
		}
		switch now.State {
		case types.HttpNfcLeaseStateReady:
			if now.Info == nil {
				return errors.New("the lease is ready, and names no disk")
			}
			l.info = *now.Info
			return nil
		case types.HttpNfcLeaseStateError:
			if now.Error == nil {
				return errors.New("the lease failed and does not say why")
			}
			return faultError(*now.Error)
		case types.HttpNfcLeaseStateDone:
			return errors.New("the lease ended before it was ready")
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// beat tells the lease how far we are, which keeps it alive. govmomi's own updater
// sends nonsense where sizes are not known, and hangs on who does not read.
func (l *lease) beat(ctx context.Context) {
	defer close(l.done)
	every := leaseBeat
	if t := time.Duration(l.info.LeaseTimeout) * time.Second / 4; t > 0 {
		every = min(every, t)
	}
	for sleep(ctx, every) == nil {
		percent := int32(0)
		if l.all > 0 {
			percent = int32(min(99, l.read.Load()*100/l.all))
		}
		_, err := methods.HttpNfcLeaseProgress(ctx, l.c, &types.HttpNfcLeaseProgress{This: l.ref, Percent: percent})
		switch {
		case err == nil || ctx.Err() != nil:
		case faultName(err) == "": // the weather: there is time for some more
			l.s.log.Warn("keep an export lease alive", "lease", l.ref.Value, "order", l.name, "err", err)
		default:
			l.mu.Lock()
			l.died = explain(err)
			l.mu.Unlock()
			return
		}
	}
}

// why adds to an error of a stream what became of its lease.
func (l *lease) why(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = true
	if l.died != nil {
		return fmt.Errorf("%w; its export lease died: %w", err, l.died)
	}
	return err
}

// end ends the lease, well or ill. It may be called twice.
func (l *lease) end(ctx context.Context) error {
	l.s.mu.Lock()
	open := l.s.leases[l.name][l]
	delete(l.s.leases[l.name], l)
	if len(l.s.leases[l.name]) == 0 {
		delete(l.s.leases, l.name)
	}
	l.s.mu.Unlock()
	if !open {
		return nil
	}
	l.stop()
	<-l.done
	l.mu.Lock()
	abort := l.broken || l.died != nil
	l.mu.Unlock()
	return l.give(ctx, abort)
}

// give gives the lease back. One that is over already has been.
func (l *lease) give(ctx context.Context, abort bool) (err error) {
	if abort {
		_, err = methods.HttpNfcLeaseAbort(ctx, l.c, &types.HttpNfcLeaseAbort{This: l.ref})
	} else {
		_, err = methods.HttpNfcLeaseComplete(ctx, l.c, &types.HttpNfcLeaseComplete{This: l.ref})
	}
	if isGone(err, l.ref) || fault.Is(err, &types.InvalidState{}) || fault.Is(err, &types.Timedout{}) {
		return nil
	}
	return err
}

// abortLeases ends what this process holds of an order, or of all. What another
// process held dies with its timeout.
func (s *Source) abortLeases(ctx context.Context, name string) {
	s.mu.Lock()
	var all []*lease
	for of, leases := range s.leases {
		if name == "" || of == name {
			for l := range leases {
				all = append(all, l)
			}
		}
	}
	s.mu.Unlock()
	for _, l := range all {
		l.mu.Lock()
		l.broken = true
		l.mu.Unlock()
		if err := l.end(ctx); err != nil {
			s.log.Warn("abort an export lease: it dies by itself", "lease", l.ref.Value, "order", l.name, "err", err)
		}
	}
}

// device finds a disk's URL. The lease names disks by controller and unit; the
// simulator, and some hosts, only by the name of a file, or by their order.
func (l *lease) device(x *disk, disks []*disk) (types.HttpNfcLeaseDeviceUrl, error) {
	var urls []types.HttpNfcLeaseDeviceUrl
	for _, d := range l.info.DeviceUrl {
		if deref(d.Disk, strings.HasSuffix(d.Url, ".vmdk")) {
			urls = append(urls, d)
		}
	}
	for _, fits := range []func(types.HttpNfcLeaseDeviceUrl) bool{
		func(d types.HttpNfcLeaseDeviceUrl) bool { return x.place != "" && path.Base(d.Key) == x.place },
		func(d types.HttpNfcLeaseDeviceUrl) bool { return d.TargetId != "" && d.TargetId == path.Base(x.file) },
	} {
		var found []types.HttpNfcLeaseDeviceUrl
		for _, d := range urls {
			if fits(d) {
				found = append(found, d)
			}
		}
		if len(found) == 1 {
			return found[0], nil
		}
	}
	if len(urls) == len(disks) {
		for i := range disks {
			if disks[i].device == x.device {
				return urls[i], nil
			}
		}
	}
	var keys []string
	for _, d := range urls {
		keys = append(keys, d.Key)
	}
	return types.HttpNfcLeaseDeviceUrl{}, fmt.Errorf("the export lease has no such disk (%s, %s) among its %q", x.place, path.Base(x.file), keys)
}
