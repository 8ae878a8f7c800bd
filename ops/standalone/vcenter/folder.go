package vcenter

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// folder serves files of datastores, as vCenter and hosts do: GET with Range, PUT
// of a whole file, and of a range unless Options.WholePut.
func (v *VCenter) folder(w http.ResponseWriter, r *http.Request) {
	if !v.entitled(r) {
		http.Error(w, "no session", http.StatusUnauthorized)
		return
	}
	file, ok := v.locate(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	v.mu.Lock()
	e := v.files[file]
	v.mu.Unlock()
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if e != nil && e.l.base {
			v.serveBase(w, r, e)
			return
		}
		http.ServeFile(w, r, file)
	case http.MethodPut, http.MethodPost:
		v.put(w, r, file, e)
	default:
		http.Error(w, "not for files of a datastore", http.StatusMethodNotAllowed)
	}
}

// locate is the local path of what a request names.
func (v *VCenter) locate(r *http.Request) (string, bool) {
	q := r.URL.Query()
	if dc := q.Get("dcPath"); dc != "" && strings.Trim(dc, "/") != v.datacenter.Name {
		return "", false
	}
	name := strings.TrimPrefix(r.URL.Path, "/folder/")
	if v.datastores[q.Get("dsName")] == nil || !filepath.IsLocal(name) {
		return "", false
	}
	return filepath.Join(v.Dir, "datastores", q.Get("dsName"), filepath.FromSlash(name)), true
}

// serveBase gives the bytes of a base file, which is the whole disk as it was
// when the oldest snapshot was taken; what is newer is in deltas.
func (v *VCenter) serveBase(w http.ResponseWriter, r *http.Request, e *extent) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	s := &seeker{v: v, r: r, e: e}
	e.d.mu.RLock()
	s.size = e.l.size
	e.d.mu.RUnlock()
	http.ServeContent(w, r, "", time.Time{}, s)
	if s.err != nil {
		v.Log.Error("serve a datastore's file", "machine", e.m.id, "error", s.err)
		panic(http.ErrAbortHandler)
	}
}

// seeker reads a base file as a client asks for it, and counts.
type seeker struct {
	v    *VCenter
	r    *http.Request
	e    *extent
	at   int64
	size int64
	err  error
}

func (s *seeker) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += s.at
	case io.SeekEnd:
		off += s.size
	}
	if off < 0 {
		return 0, errors.New("seek before the file")
	}
	s.at = off
	return off, nil
}

func (s *seeker) Read(p []byte) (int, error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.size-s.at, 1<<20)]
	s.v.slow(s.r.Context(), s.e.m)
	s.e.d.mu.RLock()
	err := s.e.l.read(p, s.at)
	s.e.d.mu.RUnlock()
	if err != nil {
		s.err = err
		return 0, err
	}
	s.at += int64(len(p))
	s.v.count.bytes(func(c *Counters) { c.Folder += int64(len(p)) })
	return len(p), nil
}

// put writes a whole file. A disk that is in use is locked; one that is not takes
// the bytes behind the back of changed block tracking.
func (v *VCenter) put(w http.ResponseWriter, r *http.Request, file string, e *extent) {
	if r.Header.Get("Content-Range") != "" && !v.WholePut {
		v.putRange(w, r, file, e)
		return
	}
	if r.Method == http.MethodPost && exists(file) {
		http.Error(w, "it is there already", http.StatusConflict)
		return
	}
	status, err := http.StatusCreated, error(nil)
	if e != nil {
		status, err = http.StatusOK, v.overwrite(r.Body, e)
	} else {
		if err = os.MkdirAll(filepath.Dir(file), 0o700); err == nil {
			err = receiveFile(file, r.Body)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
}

func (v *VCenter) overwrite(r io.Reader, e *extent) error {
	if err := v.unlocked(e); err != nil {
		return err
	}
	e.d.mu.Lock()
	defer e.d.mu.Unlock()
	if e.d.top != e.l {
		return fmt.Errorf("%s is locked: snapshots stand on it", e.l.file.String())
	}
	buf := make([]byte, block)
	for off := int64(0); ; {
		n, err := io.ReadFull(r, buf)
		p := buf[:n]
		if off+int64(n) > e.l.size {
			return fmt.Errorf("%s has %d bytes, the upload more", e.l.file.String(), e.l.size)
		}
		if n > 0 && (!zero(p) || e.l.allocated(off/block)) {
			if werr := e.l.write(p, off, e.l.gens[off/block]); werr != nil {
				return werr
			}
		}
		v.count.bytes(func(c *Counters) { c.Put += int64(n) })
		off += int64(n)
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			return err
		case off != e.l.size:
			return fmt.Errorf("%s has %d bytes, the upload %d", e.l.file.String(), e.l.size, off)
		default:
			return nil
		}
	}
}
