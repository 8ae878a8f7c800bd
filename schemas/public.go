package schemas

import "time"

// The public event types. Frozen once shipped: fields are only added, and what
// would change the meaning of one is a new version of the type.
const (
	TypeBackupRequested   = "dev.holdfast.backup.requested.v1"
	TypeBackupCancel      = "dev.holdfast.backup.cancel.v1"
	TypeBackupCompleted   = "dev.holdfast.backup.completed.v1"
	TypeBackupProgressed  = "dev.holdfast.backup.progressed.v1"
	TypePolicyDeclared    = "dev.holdfast.policy.declared.v1"
	TypeRestoreRequested  = "dev.holdfast.restore.requested.v1"
	TypeRestoreProgressed = "dev.holdfast.restore.progressed.v1"
	TypeRestoreCompleted  = "dev.holdfast.restore.completed.v1"
)

// Public is the data of a public event. A field without omitempty or omitzero
// must be there in what comes in, and always is in what goes out.
type Public interface{ EventType() string }

// Inbound is what others send to us: read strictly, so that no typo is ignored.
type Inbound interface {
	Public
	inbound()
}

// BackupRequested asks for one backup now of each machine named or matched.
// One of machines and selectors must be there.
type BackupRequested struct {
	// Machines to back up, each as source/id, by name, or by instance id. A name that two machines share is refused.
	Machines []string `json:"machines,omitempty"`
	// Selectors match any number of machines. Those that no machine matches select nothing.
	Selectors []Selector `json:"selectors,omitempty"`
	// Region takes the machines of that region alone: nothing else is meant, and names that only other regions know are left out. Default: all regions that are served.
	Region string `json:"region,omitempty"`
	// Mode full reads everything; incremental, the default, reads what changed since the last point.
	Mode string `json:"mode,omitempty" jsonschema:"enum=incremental,enum=full"`
	// Quiesce try, the default, takes the best level that can be had; require fails rather than take a lower one; off asks no guest.
	Quiesce string `json:"quiesce,omitempty" jsonschema:"enum=try,enum=require,enum=off"`
	// Priority: among backups that wait, higher goes first. Default 0.
	Priority int32 `json:"priority,omitempty"`
	// ExcludedDisks are names or globs of disks to leave out.
	ExcludedDisks []string `json:"excludedDisks,omitempty"`
	// NotAfter is the last moment at which the backup may still begin. Default: 24 hours after the event's time.
	NotAfter time.Time `json:"notAfter,omitzero"`
}

// Selector matches machines for which all that it says is true.
type Selector struct {
	// Name is a glob over the machine's name: * and ? stand for any characters, also a slash; [a-z] for one of a set.
	Name string `json:"name,omitempty"`
	// Source is the exact name of a source.
	Source string `json:"source,omitempty"`
	// Folder is a glob over the path of the machine's folder, such as /DC1/vm/prod; what lies below it is included. Slashes at its ends don't count.
	Folder string `json:"folder,omitempty"`
	// Tag is a glob over category/name; one of the machine's tags must match.
	Tag string `json:"tag,omitempty"`
	// Cluster is a glob over the name of the cluster that the machine is in.
	Cluster string `json:"cluster,omitempty"`
	// Host is a glob over the name of the host that the machine is on.
	Host string `json:"host,omitempty"`
}

// BackupCancel ends a job: what waits and what runs of it is cancelled, what is done stays.
type BackupCancel struct {
	// Job is the id of the job, which its sender can compute from the request's source and id.
	Job UUID `json:"job" jsonschema:"format=uuid"`
}

// JobRef names the job that a backup is one of.
type JobRef struct {
	ID UUID `json:"id" jsonschema:"format=uuid"`
	// Of is how many backups the job has, refused names counted too: the job is over when so many have ended. 0: the job as a whole was refused.
	Of uint32 `json:"of"`
}

// MachineRef names a machine. ID is stable, Name is for people. Of an unknown machine only the name is there, as it was asked for.
type MachineRef struct {
	Source string `json:"source,omitempty"`
	ID     string `json:"id,omitempty"`
	Name   string `json:"name,omitempty"`
}

// BackupBytes sums a backup up, in bytes over all its files. size = fresh + known + zero + inherited.
type BackupBytes struct {
	// Size of all files, as the machine sees them.
	Size uint64 `json:"size"`
	// Read from the source: places that may have changed and are not zero.
	Read uint64 `json:"read"`
	// Fresh bytes are new to the vault.
	Fresh uint64 `json:"fresh"`
	// Known bytes were read and found in the vault.
	Known uint64 `json:"known"`
	// Zero bytes need no place in the vault.
	Zero uint64 `json:"zero"`
	// Inherited bytes were not read: the last point has them.
	Inherited uint64 `json:"inherited"`
	// Stored is what the fresh bytes take in the vault: compressed and sealed, before parity.
	Stored uint64 `json:"stored"`
}

// BackupCompleted is the one terminal event of a backup, however it ended.
type BackupCompleted struct {
	Job     JobRef     `json:"job"`
	Backup  UUID       `json:"backup" jsonschema:"format=uuid"`
	Machine MachineRef `json:"machine"`
	Status  string     `json:"status" jsonschema:"enum=completed,enum=failed,enum=refused,enum=cancelled"`
	// Reason of every status but completed: what, which one, why.
	Reason string `json:"reason,omitempty"`
	// Point is the path of the recovery point in the vault; only of completed.
	Point string      `json:"point,omitempty"`
	Bytes BackupBytes `json:"bytes"`
	Files uint32      `json:"files"`
	// WindowKept says whether lease to done took no longer than the window.
	WindowKept bool `json:"windowKept"`
	// WindowSeconds from the first lease to done.
	WindowSeconds float64 `json:"windowSeconds"`
	// Redundancy is how many shards of the weakest pack were durable then.
	Redundancy uint32 `json:"redundancy"`
	// Consistency that the snapshot promises, from the least: fuzzy (it changed while it was read), crash, filesystem, application.
	Consistency string `json:"consistency,omitempty" jsonschema:"enum=fuzzy,enum=crash,enum=filesystem,enum=application"`
	// FullReason says why everything was read, where it was.
	FullReason string `json:"fullReason,omitempty"`
	// Warnings say what to know of it, and why each attempt failed that went before.
	Warnings []string `json:"warnings,omitempty"`
	// Policy that it was due by. None: it was asked for.
	Policy string `json:"policy,omitempty"`
	// Attempt that ended it, from 1; 0 if it never got a lease.
	Attempt    uint32    `json:"attempt"`
	QueuedAt   time.Time `json:"queuedAt,omitzero"`
	LeasedAt   time.Time `json:"leasedAt,omitzero"`
	SnapshotAt time.Time `json:"snapshotAt,omitzero"`
	DoneAt     time.Time `json:"doneAt"`
}

// BackupProgressed says how a backup that has not ended stands. It may repeat, come late or not at all.
type BackupProgressed struct {
	Job     JobRef     `json:"job"`
	Backup  UUID       `json:"backup" jsonschema:"format=uuid"`
	Machine MachineRef `json:"machine"`
	State   string     `json:"state" jsonschema:"enum=queued,enum=running"`
	// WaitingFor says what holds it up, in words.
	WaitingFor string `json:"waitingFor,omitempty"`
	// Policy that it is due by. None: it was asked for.
	Policy string `json:"policy,omitempty"`
	// Attempt under way, from 1; 0 while queued.
	Attempt uint32 `json:"attempt"`
	// Reason why the attempt before this one failed.
	Reason string `json:"reason,omitempty"`
	// Bytes so far, of this attempt; size is 0 while nobody knows it.
	Bytes    BackupBytes `json:"bytes"`
	QueuedAt time.Time   `json:"queuedAt,omitzero"`
	LeasedAt time.Time   `json:"leasedAt,omitzero"`
}

// RestoreRequested asks for the files of one point.
type RestoreRequested struct {
	// Vault by name; empty: the only one.
	Vault string `json:"vault,omitempty"`
	// Point is its path in the vault, as backup.completed says it.
	Point string `json:"point"`
	// Files to restore, by name; none: all.
	Files []string `json:"files,omitempty"`
	// Destination says where they go.
	Destination RestoreDestination `json:"destination"`
	// As is the format of restored disks. Default raw.
	As string `json:"as,omitempty" jsonschema:"enum=raw,enum=vmdk,enum=ova,enum=qcow2"`
	// Mapping gives files other names than they had: from old to new.
	Mapping map[string]string `json:"mapping,omitempty"`
	// Force overwrites files that are there, or a machine in place.
	Force bool `json:"force,omitempty"`
}

// RestoreDestination says where a restore goes: into a folder that the restorer can
// reach, below one of its roots, or into a source, as a whole machine.
type RestoreDestination struct {
	Dir string `json:"dir,omitempty"`
	// Source by name, such as a vCenter. What follows is for it only.
	Source string `json:"source,omitempty"`
	// Name of the new machine; empty: the one it had. Each of these is as it was if empty.
	Name   string `json:"name,omitempty"`
	Folder string `json:"folder,omitempty"`
	// Pool of computing resources: a cluster, or a pool in one.
	Pool string `json:"pool,omitempty"`
	// Datastore for all of the machine.
	Datastore string `json:"datastore,omitempty"`
	// Networks by the name that the machine knew: the name of the one to be on.
	Networks map[string]string `json:"networks,omitempty"`
	// InPlace changes the disks of the machine that is there, where they differ. It needs force, and the machine to be off and without snapshots.
	InPlace bool `json:"inPlace,omitempty"`
	PowerOn bool `json:"powerOn,omitempty"`
}

// RestoreProgressed says how far a restore is. It may repeat, come late or not at all.
type RestoreProgressed struct {
	Restore UUID   `json:"restore" jsonschema:"format=uuid"`
	Point   string `json:"point"`
	// Size of all files to restore, in bytes.
	Size uint64 `json:"size"`
	// Done bytes are restored and verified, holes counted too.
	Done uint64 `json:"done"`
	// WaitingFor says what holds it up, in words.
	WaitingFor string `json:"waitingFor,omitempty"`
}

// RestoreCompleted is the one terminal event of a restore.
type RestoreCompleted struct {
	Restore UUID   `json:"restore" jsonschema:"format=uuid"`
	Point   string `json:"point,omitempty"`
	Status  string `json:"status" jsonschema:"enum=completed,enum=failed,enum=refused"`
	Reason  string `json:"reason,omitempty"`
	// Destination folder, or source.
	Destination string   `json:"destination,omitempty"`
	Files       []string `json:"files,omitempty"`
	// Machine that was restored into a source.
	Machine *MachineRef `json:"machine,omitempty"`
	// Via says how a machine's bytes were written, in words of the destination.
	Via string `json:"via,omitempty"`
	// Size of all files restored, in bytes.
	Size uint64 `json:"size"`
	// Written bytes; the rest are holes, or were right already.
	Written   uint64    `json:"written"`
	Warnings  []string  `json:"warnings,omitempty"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	DoneAt    time.Time `json:"doneAt"`
}

func (BackupRequested) EventType() string   { return TypeBackupRequested }
func (BackupCancel) EventType() string      { return TypeBackupCancel }
func (BackupCompleted) EventType() string   { return TypeBackupCompleted }
func (BackupProgressed) EventType() string  { return TypeBackupProgressed }
func (RestoreRequested) EventType() string  { return TypeRestoreRequested }
func (RestoreProgressed) EventType() string { return TypeRestoreProgressed }
func (RestoreCompleted) EventType() string  { return TypeRestoreCompleted }

func (BackupRequested) inbound()  {}
func (BackupCancel) inbound()     {}
func (RestoreRequested) inbound() {}
