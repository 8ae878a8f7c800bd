package vcenter

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/vmware/govmomi/vim25/types"
)

// putRange writes a range of a file that is there. No document promises it of a
// real vCenter, some do it: so a client must ask first, and Options.WholePut is the
// one that does not.
func (v *VCenter) putRange(w http.ResponseWriter, r *http.Request, file string, e *extent) {
	var from, to, size int64
	said := r.Header.Get("Content-Range")
	if n, err := fmt.Sscanf(said, "bytes %d-%d/%d", &from, &to, &size); err != nil || n != 3 || from < 0 || to < from || to >= size {
		http.Error(w, "Content-Range "+said, http.StatusRequestedRangeNotSatisfiable)
		return
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, to-from+2))
	if err == nil && int64(len(b)) != to-from+1 {
		err = fmt.Errorf("%s, and %d bytes or more came", said, len(b))
	}
	if err == nil && e != nil {
		err = v.change(b, from, size, e)
	} else if err == nil {
		err = changeFile(file, b, from)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		http.NotFound(w, r)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.WriteHeader(http.StatusOK)
	}
}

func changeFile(file string, b []byte, from int64) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, from)
	return errors.Join(err, f.Close())
}

// change writes a range of a disk behind the back of changed block tracking.
func (v *VCenter) change(b []byte, from, size int64, e *extent) error {
	if err := v.unlocked(e); err != nil {
		return err
	}
	e.d.mu.Lock()
	defer e.d.mu.Unlock()
	if size != e.l.size || e.d.top != e.l {
		return fmt.Errorf("%s has %d bytes, the range is of %d", e.l.file.String(), e.l.size, size)
	}
	for off := from; len(b) > 0; {
		n := min(int64(len(b)), block-off%block)
		if err := e.l.write(b[:n], off, e.l.gens[off/block]); err != nil {
			return err
		}
		v.count.bytes(func(c *Counters) { c.Put += n })
		off, b = off+n, b[n:]
	}
	return nil
}

// unlocked refuses a disk that somebody uses.
func (v *VCenter) unlocked(e *extent) error {
	vm := v.vm(e.m.ref)
	if !e.l.base || vm == nil || e.m.taken() || vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
		return fmt.Errorf("%s is locked", e.l.file.String())
	}
	return nil
}
