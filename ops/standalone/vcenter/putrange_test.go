package vcenter

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
)

// Goal: a range of a disk's file is written where it says and nowhere else, behind
// the back of change tracking, and never under a snapshot or a running guest; a
// vCenter that takes no ranges takes what comes for the whole file. Method: PUTs
// with Content-Range, held against the disk.
func TestPutRange(t *testing.T) {
	for name, whole := range map[string]bool{"ranges": false, "whole": true} {
		t.Run(name, func(t *testing.T) {
			v := start(t, Options{WholePut: whole})
			c := login(t, v)
			want := noise(8, small)
			id, vm := c.add(Machine{Name: "m", Tracking: true, Disks: []Disk{{Size: small, Content: bytes.NewReader(want)}}})
			put := func(file, body, span string) (code int) {
				t.Helper()
				req, err := http.NewRequest("PUT", v.URL()+"/folder/m/"+file+"?dcPath=DC0&dsName=ds-0", bytes.NewReader([]byte(body)))
				c.ck(err)
				if span != "" {
					req.Header.Set("Content-Range", span)
				}
				c.ck(c.c.Client.Do(c.ctx, req, func(res *http.Response) error { code = res.StatusCode; return nil }))
				return code
			}
			get := func() []byte {
				b := make([]byte, small)
				if _, err := v.Disk(id, 0).ReadAt(b, 0); err != nil {
					t.Fatal(err)
				}
				return b
			}
			if code := put("x", "01234567", ""); code != http.StatusCreated {
				t.Fatalf("a new file: %d", code)
			}
			put("x", "ab", "bytes 4-5/8")
			b, _ := c.fetch("[ds-0] m/x", 0, 0)
			if got := map[bool]string{false: "0123ab67", true: "ab"}[whole]; string(b) != got {
				t.Errorf("the file holds %q, want %q", b, got)
			}
			if whole {
				if code := put("m-flat.vmdk", "ab", fmt.Sprintf("bytes 4-5/%d", small)); code != http.StatusInternalServerError {
					t.Errorf("two bytes for a whole disk: %d", code)
				}
				return
			}
			at := 2*block - 3 // over a border of blocks
			span := fmt.Sprintf("bytes %d-%d/%d", at, at+5, small)
			s := c.snap(vm, "s")
			if code := put("m-flat.vmdk", "abcdef", span); code != http.StatusInternalServerError || !bytes.Equal(get(), want) {
				t.Errorf("under a snapshot: %d", code)
			}
			c.ck(c.unsnap(s))
			s = c.snap(vm, "s")
			since := c.snapFlats(s)[0].ChangeId
			c.ck(c.unsnap(s))
			v.Forget()
			if code := put("m-flat.vmdk", "abcdef", span); code != http.StatusOK {
				t.Errorf("a range: %d", code)
			}
			copy(want[at:], "abcdef")
			if !bytes.Equal(get(), want) || v.Counters().Put != 6 {
				t.Errorf("the disk is another, or %d bytes were counted", v.Counters().Put)
			}
			s = c.snap(vm, "s")
			areas, _, err := c.areas(vm, &s, 2000, since, small)
			c.ck(err)
			c.ck(c.unsnap(s))
			if len(areas) > 0 {
				t.Errorf("change tracking saw %v", areas)
			}
			for what, span := range map[string]string{"no range": "bytes x", "backwards": "bytes 5-4/9", "another size": "bytes 0-5/9"} {
				if code := put("m-flat.vmdk", "abcdef", span); code/100 == 2 {
					t.Errorf("%s: %d", what, code)
				}
			}
			if code := put("none", "ab", "bytes 0-1/2"); code != http.StatusNotFound {
				t.Errorf("a range of no file: %d", code)
			}
			c.ck(v.PowerOn(id))
			if code := put("m-flat.vmdk", "abcdef", span); code != http.StatusInternalServerError {
				t.Errorf("under a running guest: %d", code)
			}
			if !bytes.Equal(get(), want) {
				t.Error("what was refused changed the disk")
			}
		})
	}
}
