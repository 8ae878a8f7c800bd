package vsphere

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// Open chooses the reader of a disk, and says which in the file's Via. Ranges pay
// where only what changed is asked for; a disk that is read whole comes faster and
// smaller as a stream, which leaves out what is not allocated.
func (n *snapshot) Open(ctx context.Context, f source.File, from int64) (source.Reader, error) {
	if b, ok := n.small[f.Key]; ok {
		return small{bytes.NewReader(b)}, nil
	}
	x := n.disks[f.Key]
	if x == nil {
		return nil, source.Permanent(n.m.fail("open "+brief(f.Key), fmt.Errorf("no such file in snapshot %s", n.id)))
	}
	why := n.unflat(x)
	switch n.m.s.transport {
	case TransportNFC:
		why = "the transport is set to nfc"
	case TransportDatastore:
		if why != "" {
			return nil, source.Permanent(n.fail(x, "read by datastore ranges", fmt.Errorf("%s: set transport to auto", why)))
		}
	default:
		if n.since[x.key] == "" && why == "" {
			why = "all of it is read"
		}
	}
	if why != "" {
		n.say(x.key, TransportNFC)
		return n.openStream(ctx, x)
	}
	n.say(x.key, TransportDatastore)
	return n.openRanges(ctx, x)
}

func (n *snapshot) say(key, via string) {
	for i := range n.files {
		if n.files[i].Key == key {
			n.files[i].Via = via
		}
	}
}

// deltaName is how a host names a disk that lies on top of another.
var deltaName = regexp.MustCompile(`-\d{6}\.vmdk$`)

// unflat says why a disk's frozen bytes are not one flat file, or nothing.
func (n *snapshot) unflat(x *disk) string {
	switch {
	case x.rdm != "":
		return "it is a raw device mapping"
	case x.delta || deltaName.MatchString(x.file):
		return "an older snapshot's delta lies below it"
	case !x.flat:
		return "it is no flat file"
	}
	flat := flatName(x.file)
	if n.m.mo.LayoutEx != nil {
		for _, f := range n.m.mo.LayoutEx.File {
			if f.Name == flat && f.Type == string(types.VirtualMachineFileLayoutExFileTypeDiskExtent) {
				return ""
			}
		}
	}
	return "its datastore shows no flat file of it (vSAN and vVols have none)"
}

// flatName is where the bytes of a disk's descriptor file are.
func flatName(file string) string { return strings.TrimSuffix(file, ".vmdk") + "-flat.vmdk" }

// datastorePath takes "[datastore] folder/file" apart.
func datastorePath(file string) (p object.DatastorePath, err error) {
	if !p.FromString(file) || path.Clean("/"+p.Path) != "/"+p.Path {
		return p, fmt.Errorf("%q is no path on a datastore", file)
	}
	return p, nil
}

// small is a file in memory.
type small struct{ r *bytes.Reader }

func (s small) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := s.r.ReadAt(p, off)
	return err
}

func (s small) Close() error { return nil }
