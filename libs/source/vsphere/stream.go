package vsphere

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sort"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/vmdk"
)

// stream reads a disk from an export lease: the whole of it, forward only. What
// the stream has no grain for is not allocated, and zero.
type stream struct {
	n      *snapshot
	x      *disk
	l      *lease
	body   io.ReadCloser
	cancel context.CancelFunc
	dec    *vmdk.Reader

	at    int64  // all before it was read or passed
	off   int64  // of the grain in hand
	grain []byte // nil: none yet, or none left
	ended bool
}

func (n *snapshot) openStream(ctx context.Context, x *disk) (source.Reader, error) {
	l, err := n.export(ctx)
	if err != nil {
		return nil, err
	}
	r, err := n.openDevice(ctx, l, x)
	if err != nil {
		return nil, n.fail(x, "open its stream", l.why(err))
	}
	return r, nil
}

func (n *snapshot) openDevice(ctx context.Context, l *lease, x *disk) (*stream, error) {
	d, err := l.device(x, n.sorted())
	if err != nil {
		return nil, err
	}
	s := n.m.s
	u, err := n.m.c.ParseURL(d.Url)
	if err != nil {
		return nil, err
	}
	if print, err := normalThumbprint(d.SslThumbprint); err == nil && print != "" && u.Host != s.url.Host {
		s.trust.learn(u.Host, print) // from who is trusted
	}
	// The stream outlives the call that opens it; each read lends it its context.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	req, err := http.NewRequestWithContext(life, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel()
		return nil, err
	}
	res, err := s.web().Do(req)
	if err != nil {
		cancel()
		return nil, err
	}
	r := &stream{n: n, x: x, l: l, body: res.Body, cancel: cancel}
	if res.StatusCode != http.StatusOK {
		r.Close()
		return nil, errors.New("the host answers " + res.Status)
	}
	if r.dec, err = vmdk.NewReader(res.Body); err != nil {
		r.Close()
		return nil, err
	}
	if r.dec.Size() != x.size {
		r.Close()
		return nil, fmt.Errorf("the stream is of a disk of %d bytes, and this one has %d", r.dec.Size(), x.size)
	}
	return r, nil
}

// sorted are the disks that the snapshot has, in the order of their devices.
func (n *snapshot) sorted() []*disk {
	var all []*disk
	for _, x := range n.disks {
		all = append(all, x)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].device < all[j].device })
	return all
}

// ReadAt goes on in the stream up to the end of p.
func (r *stream) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if off < r.at || off+int64(len(p)) > r.x.size {
		return source.Permanent(r.n.fail(r.x, "read", fmt.Errorf("%d bytes at %d of %d, and the stream is at %d", len(p), off, r.x.size, r.at)))
	}
	stop := context.AfterFunc(ctx, r.cancel)
	defer stop()
	clear(p)
	end := off + int64(len(p))
	for !r.ended {
		if r.grain != nil && r.off+int64(len(r.grain)) > off {
			if r.off >= end {
				break
			}
			from := max(r.off, off)
			copy(p[from-off:], r.grain[from-r.off:])
			if r.off+int64(len(r.grain)) >= end {
				break
			}
		}
		if err := r.step(); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return r.n.fail(r.x, fmt.Sprintf("its stream broke at %d of %d", r.at, r.x.size), r.l.why(err))
		}
	}
	r.pass(end)
	return nil
}

// step takes the next grain in hand.
func (r *stream) step() error {
	off, p, err := r.dec.Next()
	switch {
	case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		r.ended, r.grain = true, nil
		return nil
	case err != nil:
		return err
	}
	r.off, r.grain = off, p
	return nil
}

func (r *stream) pass(to int64) {
	if to > r.at {
		r.l.read.Add(to - r.at)
		r.at = to
	}
}

func (r *stream) Close() error {
	r.cancel()
	return r.body.Close()
}
