package vsphere

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/vmdk"
)

// importVM makes the machine and waits until its disks can be written. It hears
// from us from then on, or it dies and takes the machine with it.
func (s *Source) importVM(ctx context.Context, p *plan, spec *types.VirtualMachineConfigSpec) (*lease, error) {
	res, err := methods.ImportVApp(ctx, p.at.c, &types.ImportVApp{This: p.at.pool, Folder: &p.at.folder, Host: &p.at.host,
		Spec: &types.VirtualMachineImportSpec{ConfigSpec: *spec}})
	if err != nil {
		return nil, err
	}
	l := &lease{s: s, c: p.at.c, name: p.o.Name, ref: res.Returnval, done: make(chan struct{})}
	for _, x := range p.disks {
		l.all += x.size
	}
	if err := l.ready(ctx); err != nil {
		return nil, errors.Join(err, l.give(context.WithoutCancel(ctx), true))
	}
	beat, stop := context.WithCancel(context.Background())
	l.stop = stop
	s.mu.Lock()
	if s.leases[l.name] == nil {
		s.leases[l.name] = map[*lease]bool{}
	}
	s.leases[l.name][l] = true
	s.mu.Unlock()
	go l.beat(beat)
	return l, nil
}

// sending is one request whose body is written as it goes.
type sending struct {
	pipe   *io.PipeWriter
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of the request; after done
	over   sync.Once
}

// errGivenUp is what a request is told that is given up.
var errGivenUp = errors.New("given up")

// send begins a request. size is of the body; -1: it is told by its end.
func (s *session) send(ctx context.Context, method, url string, size int64, kind string) (*sending, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, method, url, r)
	if err != nil {
		cancel()
		return nil, err
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", kind)
	up := &sending{pipe: w, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(up.done)
		res, err := s.web().Do(req)
		if err != nil {
			up.err = err
			r.CloseWithError(err)
			return
		}
		if res.StatusCode/100 != 2 {
			said, _ := io.ReadAll(io.LimitReader(res.Body, 512))
			up.err = fmt.Errorf("the answer is %s %s", res.Status, strings.TrimSpace(string(said)))
			r.CloseWithError(up.err)
		}
		dismiss(res)
	}()
	return up, nil
}

// finish ends the body, and says what the other side made of it.
func (up *sending) finish() error {
	up.pipe.Close()
	<-up.done
	up.cancel()
	return up.err
}

// giveUp cuts the request.
func (up *sending) giveUp() {
	up.over.Do(func() {
		up.pipe.CloseWithError(errGivenUp)
		up.cancel()
		<-up.done
	})
}

// broken is why the body takes no more: what the other side said, if it said so.
func (up *sending) broken(err error) error {
	up.giveUp()
	if up.err != nil && !errors.Is(up.err, context.Canceled) && !errors.Is(up.err, errGivenUp) {
		return up.err
	}
	return err
}

// upload sends a disk through the lease, as streamOptimized VMDK.
type upload struct {
	r    *returning
	x    *disk
	up   *sending
	enc  *vmdk.Writer
	sent int64 // what the lease was told of

	at    int64  // of the grain in hand
	grain []byte // empty: there is none
	buf   [vmdk.GrainSize]byte

	over bool
	stop func() bool
}

func (r *returning) upload(ctx context.Context, x *disk) (*upload, error) {
	d, err := r.l.device(x, r.disks)
	if err != nil {
		return nil, err
	}
	u, err := r.m.c.ParseURL(d.Url)
	if err != nil {
		return nil, err
	}
	if print, err := normalThumbprint(d.SslThumbprint); err == nil && print != "" && u.Host != r.s.url.Host {
		r.s.trust.learn(u.Host, print) // from who is trusted
	}
	up, err := r.s.send(ctx, http.MethodPost, u.String(), -1, "application/x-vnd.vmware-streamVmdk")
	if err != nil {
		return nil, err
	}
	w := &upload{r: r, x: x, up: up, stop: context.AfterFunc(ctx, up.giveUp)}
	if w.enc, err = vmdk.NewWriter(up.pipe, vmdk.Options{Size: x.size}); err != nil {
		return nil, up.broken(err)
	}
	return w, nil
}

func (w *upload) fail(err error) error {
	if full(err) {
		return source.Permanent(w.r.m.fail(fmt.Sprintf("disk %q", w.x.label), fmt.Errorf("its datastore is full: %w", err)))
	}
	return w.r.m.fail(fmt.Sprintf("disk %q: its upload broke at %d of %d", w.x.label, w.sent, w.x.size), w.r.l.why(err))
}

// full reports whether a host says that a datastore has no room left: by its HTTP
// answer it can only say so in words.
func full(err error) bool {
	said := strings.ToLower(err.Error())
	return strings.Contains(said, "no space") || strings.Contains(said, "insufficient storage")
}

// Write gathers grains, whatever pieces the bytes come in, and tells the lease how
// far we are.
func (w *upload) Write(off int64, p []byte) error {
	for len(p) > 0 {
		if at := off - off%vmdk.GrainSize; len(w.grain) == 0 || at != w.at {
			if err := w.flush(); err != nil {
				return err
			}
			w.at, w.grain = at, w.buf[:min(vmdk.GrainSize, max(0, w.x.size-at))]
			clear(w.grain)
		}
		n := 0
		if off-w.at < int64(len(w.grain)) {
			n = copy(w.grain[off-w.at:], p)
		}
		if n == 0 {
			return source.Permanent(w.fail(fmt.Errorf("%d bytes at %d of %d", len(p), off, w.x.size)))
		}
		off, p = off+int64(n), p[n:]
	}
	return nil
}

func (w *upload) flush() error {
	if len(w.grain) == 0 {
		return nil
	}
	if err := w.enc.WriteGrain(w.at, w.grain); err != nil {
		return w.fail(w.up.broken(err))
	}
	w.pass(w.at + int64(len(w.grain)))
	w.grain = nil
	return nil
}

func (w *upload) pass(to int64) {
	w.r.l.read.Add(to - w.sent)
	w.sent = to
}

// Close waits until the host has all of it.
func (w *upload) Close() error {
	if err := w.flush(); err != nil {
		return err
	}
	w.over = true
	defer w.stop()
	if err := w.enc.Close(); err != nil {
		return w.fail(w.up.broken(err))
	}
	if err := w.up.finish(); err != nil {
		return w.fail(err)
	}
	w.pass(w.x.size)
	return nil
}

// Cancel cuts it.
func (w *upload) Cancel() {
	if !w.over {
		w.over = true
		w.stop()
		w.up.giveUp()
	}
}
