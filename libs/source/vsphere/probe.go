package vsphere

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// probeAll asks each datastore of the machine's disks whether it takes ranges.
func (r *inPlace) probeAll(ctx context.Context) error {
	for _, x := range r.disks {
		p, err := datastorePath(x.file)
		if err != nil {
			return r.fail(x, "find its file", err)
		}
		if _, known := r.ranges[p.Datastore]; known {
			continue
		}
		file := probeFile(p, r.o.Name)
		takes, err := r.probe(ctx, file)
		err = errors.Join(err, r.delete(ctx, file))
		if err != nil {
			return r.fail(x, "ask whether datastore "+p.Datastore+" takes ranges", err)
		}
		if r.ranges[p.Datastore] = takes; !takes {
			r.via = viaWhole
		}
	}
	return nil
}

// probe writes a file and then a range of it. A PUT with Content-Range is nowhere
// promised, and a server that ignores the header makes a file of two bytes of the
// disk: so it is tried on a file of our own.
func (r *inPlace) probe(ctx context.Context, file string) (takes bool, err error) {
	p, err := datastorePath(file)
	if err != nil {
		return false, err
	}
	u := r.m.fileURL(p, r.places)
	status, err := r.s.put(ctx, u.String(), []byte("01234567"), "")
	if err != nil {
		return false, err
	}
	if status/100 != 2 {
		return false, fmt.Errorf("the datastore's HTTP service answers %d to a new file: the account may lack the right Datastore.FileManagement", status)
	}
	status, err = r.s.put(ctx, u.String(), []byte("ab"), "bytes 4-5/8")
	if err != nil || status/100 != 2 {
		return false, err
	}
	res, err := r.s.get(ctx, u, "")
	if err != nil {
		return false, err
	}
	defer dismiss(res)
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("the datastore's HTTP service answers %s", res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, drainMax))
	return string(b) == "0123ab67", err
}
