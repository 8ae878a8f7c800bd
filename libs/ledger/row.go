package ledger

import "github.com/holdfast-backup/holdfast/schemas"

// Origin says which record a row came from. Rows of one record land together or
// not at all, so an Origin is what exactly-once is counted by.
type Origin struct {
	AtMs   int64 // the record's time: it never changes, and tells a topic from one that was made anew under its name
	Region string
	Topic  string // without the region
	Part   uint16
	Offset uint64
}

// Machine of a row. ID is unique in its source.
type Machine struct{ Source, ID, Name string }

// Attempt of a row: one lease of a backup.
type Attempt struct {
	Backup schemas.UUID
	No     uint16
	Lease  schemas.UUID
}

// Outcome of a place.
type Outcome int8

const (
	Known Outcome = iota + 1
	Fresh
	Zero
	Inherited
)

// Filed is what all rows of one record of places have in common.
type Filed struct {
	Origin
	Vault, Tenant string
	Machine       Machine
	Job           schemas.UUID
	Attempt       Attempt
	FileNo        uint32
	File          string
	GridBytes     uint32
	MapPackBirth  uint64
	MapPack       schemas.UUID

	ReadUs, CutUs, LookupUs, SealUs, PutUs uint32
}

// Place is a row of chunk_log: a cut place, or a run of zero or inherited ones.
// A record has up to 100,000 of them, so what they share is shared.
type Place struct {
	*Filed
	Place, Places uint64
	LengthBytes   uint64
	Chunk         [32]byte
	Outcome       Outcome
	PackBirth     uint64
	Pack          schemas.UUID
	StoredBytes   uint32
}

// Event is a row of stage_event: a record that a stage wrote.
type Event struct {
	Origin
	Stage, Worker  string
	Attempt        Attempt
	WaitUs, BusyUs uint64
	Bytes          uint64
	Chunks         uint32
	Error          string
}

// State of a backup.
type State int8

const (
	Queued State = iota + 1
	Running
	Completed
	Failed
	Refused
	Cancelled
)

// Turn is a row of backup_state. Times are in ms since 1970, 0 for none.
type Turn struct {
	Origin
	Vault, Tenant      string
	Machine            Machine
	Job                schemas.UUID
	JobOf              uint32
	Attempt            Attempt
	State              State
	Policy             string // empty: it was asked for
	WaitingFor, Reason string

	QueuedMs, LeasedMs, SnapshotMs, DoneMs int64

	Point       string
	Totals      Totals
	WindowKept  bool
	Redundancy  uint16
	Consistency string
	FullReason  string
	Warnings    []string
	Version     uint64
}

// Totals of a backup.
type Totals struct {
	Size, Read, Fresh, Known, Zero, Inherited, Stored uint64 // bytes
	Places                                            uint64
	Files, Disks                                      uint32
}

// Progress is a row of progress.
type Progress struct {
	Origin
	Attempt    Attempt
	ReadBytes  uint64
	FiledPages uint64
}

// Hitch is what a runner says of an input that it could not do.
type Hitch int8

const (
	HitchRetried Hitch = iota + 1
	HitchRefused
	HitchDone // after it was retried
	HitchStopped
)

// Trouble is a row of input_trouble. SinceMs is in ms since 1970, 0 for none.
type Trouble struct {
	Origin
	Stage, Worker string
	InputTopic    string // without the region
	InputPart     uint32
	InputOffset   uint64
	Outcome       Hitch
	Tries         uint32
	SinceMs       int64
	Reason        string
	Attempt       Attempt
}

// Found is a row of machine, the inventory. It is of a table, so its Origin has
// only time and region: the newest row of a machine counts, however often it comes.
type Found struct {
	Origin
	Machine      Machine
	Folder, Host string
	Tags         []string
	Disks        uint32
	DiskBytes    uint64
	Gone         bool
}

// Gap is a row of gap: a run of offsets whose records had left Kafka before they
// were written. Its Origin has the first of them, and the time of the record
// behind the last.
type Gap struct {
	Origin
	SinceMs int64 // the time of the record before the first; 0: not known
	Records uint64
}
