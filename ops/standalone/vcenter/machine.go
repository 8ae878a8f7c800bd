package vcenter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Machine is one to add. Only Name must be given; where it names no place it is
// put in turn.
type Machine struct {
	ID        string // instance UUID; "": a new one
	Name      string
	Folder    string // "web/front", made if it is not there
	Host      string // "esx-0"
	Datastore string // "ds-0"
	Pool      string // below its cluster's own, made if it is not there
	Network   string // "VM Network" or a portgroup's name
	Firmware  string // "bios", "efi"
	Version   string // "vmx-19"
	Policy    string // id of a storage policy, of the machine and its disks
	Tools     string // "": running while it is on; "none": not installed

	Tags       []string // "category/name", or a name of category "holdfast"
	Attributes map[string]string
	Extra      map[string]string // extraConfig

	On          bool
	Tracking    bool // changed block tracking, on since its first boot
	Encrypted   bool // its home is encrypted
	Passthrough bool // holds a PCI device of its host
	SharedBus   bool // its SCSI controller shares the bus

	Disks []Disk
}

// Modes of a disk beside VMware's own (persistent, independent_persistent,
// independent_nonpersistent).
const (
	modeRDM        = "rdm"         // physical mapping: no snapshot, no tracking
	modeRDMVirtual = "rdm-virtual" // virtual mapping
	modeShared     = "shared"      // multi-writer
)

// Disk of a machine to add.
type Disk struct {
	Size    int64
	Content io.ReaderAt // nil: zero. An *os.File is shared where it stands, and must stay; anything else is copied
	Mode    string      // "" and "persistent", "independent_persistent", "independent_nonpersistent", "rdm", "rdm-virtual", "shared"
}

// machine is one that stands.
type machine struct {
	mu      sync.Mutex
	id      string
	ref     types.ManagedObjectReference
	dir     string // local directory of its files
	marks   string // local directory of its state
	spec    Machine
	title   atomic.Pointer[string] // its name: faults and errors ask for it under any lock
	disks   []*disk
	snaps   []*snapshot // as they were made
	current *snapshot
	asked   bool         // changed block tracking, as configured
	active  bool         // as it is since the last stun
	busy    int          // leases that forbid changes
	gone    int          // disks that were removed: their names are not given again
	stun    sync.RWMutex // guests write under it; a snapshot takes it whole
	calm    sync.RWMutex // a guest's transaction is under it; a quiesced snapshot takes it whole
}

func (m *machine) name() string {
	if p := m.title.Load(); p != nil {
		return *p
	}
	return m.spec.Name
}

// call gives the machine another name. Its lock is held.
func (m *machine) call(name string) {
	m.spec.Name = name
	m.title.Store(&name)
}

func (m *machine) disk(key int32) *disk {
	for _, d := range m.disks {
		if d.key == key {
			return d
		}
	}
	return nil
}

// extent is whose a local file is.
type extent struct {
	m *machine
	d *disk
	l *layer
}

// Add makes a machine and returns its instance UUID. It may be called from many
// goroutines at once.
func (v *VCenter) Add(m Machine) (id string, err error) {
	if err := v.place(&m); err != nil {
		return "", fmt.Errorf("add %s: %w", m.Name, err)
	}
	m.ID = or(m.ID, uuid.NewString())
	rec := &machine{id: m.ID, spec: m, asked: m.Tracking, active: m.Tracking, marks: filepath.Join(v.Dir, "machines", m.ID)}
	if err := os.MkdirAll(rec.marks, 0o700); err != nil {
		return "", fmt.Errorf("add %s: %w", m.Name, err)
	}
	if rec.dir, err = v.claim(m.Datastore, fileName(m.Name)); err != nil {
		return "", fmt.Errorf("add %s: %w", m.Name, err)
	}
	if err := v.furnish(rec); err != nil {
		return "", fmt.Errorf("add %s: %w", m.Name, err)
	}
	if err := v.raise(rec); err != nil {
		return "", fmt.Errorf("add %s: %w", m.Name, err)
	}
	return m.ID, v.keep(rec)
}

// claim makes a directory on a datastore that nobody else has.
func (v *VCenter) claim(datastore, name string) (string, error) {
	root := filepath.Join(v.Dir, "datastores", datastore)
	for i := 0; ; i++ {
		dir := name
		if i > 0 {
			dir = fmt.Sprintf("%s_%d", name, i)
		}
		err := os.Mkdir(filepath.Join(root, dir), 0o700)
		if err == nil {
			return filepath.Join(root, dir), nil
		}
		if !os.IsExist(err) {
			return "", err
		}
	}
}

// furnish makes the disks that the machine was declared with.
func (v *VCenter) furnish(m *machine) error {
	for i, d := range m.spec.Disks {
		if d.Size <= 0 {
			return fmt.Errorf("disk %d has no size", i)
		}
		made, err := v.makeDisk(m, "", i, d.Size)
		if err != nil {
			return err
		}
		made.kind, made.key = d.Mode, diskKey(i)
		if made.top.image, err = v.imageOf(d.Content, d.Size, filepath.Join(m.marks, fmt.Sprintf("disk-%d.image", i))); err != nil {
			return fmt.Errorf("disk %d: %w", i, err)
		}
		m.disks = append(m.disks, made)
	}
	if m.active {
		m.track()
	}
	return nil
}

// makeDisk makes the n-th disk of a machine, empty, with its descriptor, on a
// datastore; "": the machine's own.
func (v *VCenter) makeDisk(m *machine, datastore string, n int, size int64) (*disk, error) {
	datastore = or(datastore, m.datastore())
	root := filepath.Join(v.Dir, "datastores", datastore)
	name := path.Join(filepath.Base(m.dir), fileName(m.spec.Name))
	if n > 0 {
		name += fmt.Sprintf("_%d", n)
	}
	if err := os.MkdirAll(filepath.Join(root, filepath.Base(m.dir)), 0o700); err != nil {
		return nil, err
	}
	d := v.newDisk(*dsPath(datastore, name+".vmdk"), root, m.marks, size)
	return d, describe(root, d.top)
}

// track begins tracking on every disk that can be tracked.
func (m *machine) track() {
	for _, d := range m.disks {
		if d.tracked() {
			d.start()
		}
	}
}

// raise makes the machine stand in the inventory, with what it consists of.
func (v *VCenter) raise(m *machine) error {
	folder, err := v.folderFor(m.spec.Folder)
	if err != nil {
		return err
	}
	host := v.hosts[m.spec.Host]
	pool, err := v.poolFor(v.clusterOf[host.Self], m.spec.Pool)
	if err != nil {
		return err
	}
	spec, err := v.specOf(m)
	if err != nil {
		return err
	}
	c := v.ctx()
	ref, fault := v.create(c, folder, spec, pool, &host.Self)
	if fault != nil {
		return fmt.Errorf("%s: %T", m.spec.Name, fault)
	}
	m.ref = ref
	m.call(m.spec.Name)
	v.register(m)
	return v.dress(m)
}

// register makes the machine's record known.
func (v *VCenter) register(m *machine) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.machines[m.ref] = m
	for _, d := range m.disks {
		for _, l := range d.layers {
			v.files[l.data] = &extent{m, d, l}
		}
	}
}

// dress gives the machine what a spec cannot: power, tools, encryption.
func (v *VCenter) dress(m *machine) error {
	c := v.ctx()
	vm := v.vm(m.ref)
	changes := guestProps(m.spec)
	if m.spec.On {
		changes = append(changes, powerProps(types.VirtualMachinePowerStatePoweredOn)...)
	}
	if m.spec.Encrypted {
		changes = append(changes, types.PropertyChange{Name: "config.keyId",
			Val: types.CryptoKeyId{KeyId: "key-" + m.id, ProviderId: &types.KeyProviderId{Id: "demo-kms"}}})
	}
	if err := v.nvram(m, vm); err != nil {
		return err
	}
	c.WithLock(vm, func() {
		c.Update(vm, changes)
		v.show(c, m, vm)
	})
	return errors.Join(v.label(m), v.attribute(m))
}

func (v *VCenter) vm(ref types.ManagedObjectReference) *simulator.VirtualMachine {
	vm, _ := v.model.Map().Get(ref).(*simulator.VirtualMachine)
	return vm
}

func (v *VCenter) byRef(ref types.ManagedObjectReference) *machine {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.machines[ref]
}

// machine finds one by its instance UUID.
func (v *VCenter) machine(id string) (*machine, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, m := range v.machines {
		if m.id == id {
			return m, nil
		}
	}
	return nil, fmt.Errorf("the vCenter has no machine %s", id)
}
