package vcenter

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/vmdk"
)

// nfc serves the URLs of leases, as a host does.
func (v *VCenter) nfc(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	l := v.leases[r.PathValue("lease")]
	v.mu.Unlock()
	if l == nil {
		http.NotFound(w, r)
		return
	}
	i := l.items[r.PathValue("file")]
	if i == nil {
		http.NotFound(w, r)
		return
	}
	v.count.connection(l.host, 1)
	defer v.count.connection(l.host, -1)
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	defer context.AfterFunc(l.ctx, func() {
		stop()
		_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) // an upload that waits for its client
	})()
	switch {
	case r.Method == http.MethodGet && l.export:
		v.download(ctx, w, l, i)
	case (r.Method == http.MethodPut || r.Method == http.MethodPost) && !l.export:
		v.upload(ctx, w, r, l, i)
	default:
		http.Error(w, "the lease is not for that", http.StatusMethodNotAllowed)
	}
}

// wire carries one transfer: it counts, sums, and is cut by faults.
type wire struct {
	v     *VCenter
	l     *lease
	i     *item
	ctx   context.Context
	limit int64 // bytes until it is cut; -1: never
	n     int64
}

func (v *VCenter) wire(ctx context.Context, l *lease, i *item) *wire {
	t := &wire{v: v, l: l, i: i, ctx: ctx, limit: -1}
	if f, ok := strike[StreamCut](v, l.m, nil); ok {
		t.limit = f.At
	}
	i.mu.Lock()
	i.sum, i.size, i.plain = sha1.New(), 0, 0
	i.mu.Unlock()
	return t
}

var errCut = errors.New("the stream was cut")

// take lets at most len(p) bytes pass; fewer come with an error.
func (t *wire) take(p []byte) (int, error) {
	if err := t.ctx.Err(); err != nil {
		return 0, errors.Join(errCut, err)
	}
	n := len(p)
	var err error
	if t.limit >= 0 && t.n+int64(n) > t.limit {
		n, err = int(t.limit-t.n), errCut
	}
	t.n += int64(n)
	t.i.mu.Lock()
	t.i.sum.Write(p[:n])
	t.i.size += int64(n)
	t.i.mu.Unlock()
	return n, err
}

// passed notes bytes of a disk, and kills the lease if a fault wants that now.
func (t *wire) passed(n int64) {
	t.i.mu.Lock()
	t.i.plain += n
	t.i.mu.Unlock()
	t.l.mu.Lock()
	t.l.moved += n
	moved := t.l.moved
	t.l.mu.Unlock()
	if _, ok := strike(t.v, t.l.m, func(f LeaseDies) bool { return moved >= f.After }); ok {
		t.v.working.Go(func() { t.v.die(t.l, &types.Timedout{}) })
		t.limit = t.n
	}
}

type out struct {
	*wire
	w io.Writer
}

func (o *out) Write(p []byte) (int, error) {
	n, cut := o.take(p)
	sent, err := o.w.Write(p[:n])
	o.v.count.bytes(func(c *Counters) { c.NFCWire += int64(sent) })
	return sent, errors.Join(err, cut)
}

// download streams what the lease froze. An error can only be told by cutting
// the connection: the answer has begun.
func (v *VCenter) download(ctx context.Context, w http.ResponseWriter, l *lease, i *item) {
	t := v.wire(ctx, l, i)
	o := &out{t, w}
	var err error
	if i.isDisk {
		w.Header().Set("Content-Type", "application/x-vnd.vmware-streamVmdk")
		err = v.stream(o)
	} else {
		err = copyFile(o, i.file)
	}
	if err != nil {
		if !errors.Is(err, errCut) {
			v.Log.Error("serve NFC", "machine", l.m.id, "file", i.url.TargetId, "error", err)
		}
		_ = http.NewResponseController(w).Flush() // what went before the cut arrives
		panic(http.ErrAbortHandler)
	}
}

func copyFile(w io.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// stream writes the allocated blocks of a frozen disk as streamOptimized VMDK.
func (v *VCenter) stream(o *out) error {
	d, f := o.i.d, o.i.f
	w, err := vmdk.NewWriter(o, vmdk.Options{Size: f.size})
	if err != nil {
		return err
	}
	buf, read := make([]byte, block), int64(0)
	for b := int64(0); b*block < f.size; b++ {
		if b%64 == 0 && o.ctx.Err() != nil {
			return errCut
		}
		d.mu.RLock()
		there := f.layer.allocated(b)
		p := buf[:min(block, f.size-b*block)]
		if there {
			err = f.layer.read(p, b*block)
		}
		d.mu.RUnlock()
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if read%(1<<20) == 0 {
			v.slow(o.ctx, o.l.m)
		}
		read += int64(len(p))
		v.count.bytes(func(c *Counters) { c.NFC += int64(len(p)) })
		if err := w.WriteGrain(b*block, p); err != nil {
			return err
		}
		o.passed(int64(len(p)))
	}
	return w.Close()
}

// slow waits as long as a slow datastore takes.
func (v *VCenter) slow(ctx context.Context, m *machine) {
	f, ok := strike[DatastoreSlow](v, m, nil)
	if !ok {
		return
	}
	t := time.NewTimer(f.Delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-v.stop:
	}
}

type in struct {
	*wire
	r io.Reader
}

func (i *in) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	passed, cut := i.take(p[:n])
	if cut != nil {
		return passed, cut
	}
	return n, err
}

// upload writes a streamOptimized VMDK into an imported disk.
func (v *VCenter) upload(ctx context.Context, w http.ResponseWriter, r *http.Request, l *lease, i *item) {
	t := v.wire(ctx, l, i)
	body := &in{t, r.Body}
	var err error
	if i.isDisk {
		err = v.receive(body)
	} else {
		err = receiveFile(i.file, body)
	}
	switch {
	case errors.Is(err, errCut):
		panic(http.ErrAbortHandler)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.WriteHeader(http.StatusCreated)
	}
}

func receiveFile(file string, r io.Reader) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

func (v *VCenter) receive(body *in) error {
	r, err := vmdk.NewReader(body)
	if err != nil {
		return err
	}
	d := body.i.d
	if r.Size() != d.size() {
		return fmt.Errorf("the disk has %d bytes, the upload %d", d.size(), r.Size())
	}
	for {
		off, p, err := r.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, body)
			return err
		}
		if err != nil {
			return err
		}
		if fault := v.full(body.l.m); fault != nil {
			return errors.New("no space left on the datastore")
		}
		d.mu.Lock()
		err = d.top.write(p[:min(int64(len(p)), d.top.size-off)], off, d.track.gen)
		d.mu.Unlock()
		if err != nil {
			return err
		}
		v.count.bytes(func(c *Counters) { c.Uploaded += int64(len(p)) })
		body.passed(int64(len(p)))
	}
}
