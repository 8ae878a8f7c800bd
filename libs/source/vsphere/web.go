package vsphere

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/vmware/govmomi/object"
)

// drainMax is how much of a refusal's text is read, so that its connection can be
// used again.
const drainMax = 64 << 10

// web is the client of the session: with its cookie, its trust and its connections.
func (s *session) web() *http.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.http
}

// fileURL is where the HTTP service of a machine's datastores has a file.
func (m *machine) fileURL(p object.DatastorePath, places *places) *url.URL {
	dc := ""
	if m.mo.Runtime.Host != nil {
		dc = places.datacenter(*m.mo.Runtime.Host)
	} else if m.mo.Parent != nil {
		dc = places.datacenter(*m.mo.Parent)
	}
	return object.NewDatastoreURL(*m.c.URL(), dc, p.Datastore, p.Path)
}

// get gets a file of a datastore, or a range of one. A session that is gone is
// opened again, once.
func (s *session) get(ctx context.Context, u *url.URL, span string) (*http.Response, error) {
	for again := false; ; again = true {
		if _, err := s.client(ctx); err != nil {
			return nil, err
		}
		s.mu.Lock()
		serial := s.serial
		s.mu.Unlock()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return nil, err
		}
		if span != "" {
			req.Header.Set("Range", span)
		}
		res, err := s.web().Do(req)
		if err != nil {
			return nil, s.unreachable(err)
		}
		if res.StatusCode != http.StatusUnauthorized || again {
			return res, nil
		}
		dismiss(res)
		if err := s.renew(ctx, serial); err != nil {
			return nil, err
		}
	}
}

func dismiss(res *http.Response) {
	io.CopyN(io.Discard, res.Body, drainMax)
	res.Body.Close()
}

var errMoved = errors.New("the datastore has no such file")

// getRange gets the bytes [from, to) of a file of a size.
func (s *session) getRange(ctx context.Context, u *url.URL, from, to, size int64) (io.ReadCloser, error) {
	res, err := s.get(ctx, u, fmt.Sprintf("bytes=%d-%d", from, to-1))
	if err != nil {
		return nil, err
	}
	err = func() error {
		switch res.StatusCode {
		case http.StatusPartialContent:
		case http.StatusOK:
			return errors.New("the datastore's HTTP service gives no ranges: set transport to nfc")
		case http.StatusNotFound:
			return errMoved
		case http.StatusForbidden, http.StatusUnauthorized:
			return fmt.Errorf("the datastore's HTTP service answers %s: the account lacks the right Datastore.Browse or Datastore.FileManagement; or set transport to nfc", res.Status)
		default:
			return errors.New("the datastore's HTTP service answers " + res.Status)
		}
		var a, b, total int64
		said := res.Header.Get("Content-Range")
		if _, err := fmt.Sscanf(strings.ToLower(said), "bytes %d-%d/%d", &a, &b, &total); err != nil || a != from || b != to-1 || total < size {
			return fmt.Errorf("the datastore's HTTP service answers with %q, and [%d, %d) of %d is wanted", said, from, to, size)
		}
		return nil
	}()
	if err != nil {
		dismiss(res)
		return nil, err
	}
	return res.Body, nil
}
