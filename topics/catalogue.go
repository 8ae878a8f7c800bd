package topics

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
)

const (
	week  = 7 * 24 * time.Hour
	month = 30 * 24 * time.Hour
)

// Every topic, in the order in which a backup meets them.
var (
	BackupsRequested = public("backups.requested", "any; the job's id keeps a cancel behind its request", "anyone", "intake",
		"orders: back up these machines now, or cancel that job")
	PoliciesDeclared = kept(public("policies.declared", "policy", "anyone", "intake",
		"which machines are due when, and how long their points live"))
	PoliciesTaken = kept(public("policies.taken", "policy", "intake", "intake, scheduler, collector",
		"the last good word on each policy"))
	MachinesFound = table[*schemas.MachineFound]("machines.found", "source", "exporter", "scheduler, intake, gateway, recorder",
		"the inventory, and each source's limits")
	BackupsQueued = stream[*schemas.BackupQueued]("backups.queued", "source", "intake", "scheduler",
		"a job's machines, to the room that owns their source")
	MachinesTended = table[*schemas.MachineTended]("machines.tended", "source", "scheduler", "scheduler, collector",
		"the scheduler's memory: last point, open Run, slots")
	BackupsLeased = stream[*schemas.BackupLeased]("backups.leased", "backup", "scheduler, intake (refused)", "exporter, auditor",
		"what the scheduler decided of a backup")
	ExportsOpen = table[*schemas.ExportOpen]("exports.open", "backup", "exporter", "exporter",
		"the exporter's memory: what was begun at a source and must be ended")
	ExtentsExported = stream[*schemas.ExtentExported]("extents.exported", "extent", "exporter", "chunker",
		"changed bytes that lie in staging")
	FilesExported = stream[*schemas.FileExported]("files.exported", "backup", "exporter", "auditor",
		"which files a backup has, and where each page comes from")
	ExportsEnded = stream[*schemas.ExportEnded]("exports.ended", "source", "exporter", "scheduler",
		"how an export ended, and that its slots are free")
	ExtentsCut = stream[*schemas.ExtentCut]("extents.cut", "backup", "chunker", "auditor",
		"what each page of an extent must come to hold")
	ChunksCut = stream[*schemas.ChunksCut]("chunks.cut", "chunks", "chunker", "deduper",
		"chunks by name, to the room that knows them")
	ChunksKnown = stream[*schemas.ChunksKnown]("chunks.known", "backup", "deduper", "auditor",
		"places whose chunks the vault has")
	ChunksFresh = stream[*schemas.ChunksFresh]("chunks.fresh", "extent", "deduper", "compressor-encryptor",
		"chunks that must be stored")
	ChunksDropped = stream[*schemas.ChunksDropped]("chunks.dropped", "chunks", "compressor-encryptor, uploader", "deduper",
		"claims whose chunks were lost on the way")
	PacksSealed = stream[*schemas.PackSealed]("packs.sealed", "pack", "compressor-encryptor", "uploader",
		"packs that lie in the sealed area")
	ChunksStored = table[*schemas.ChunksStored]("chunks.stored", "pack, in the chunks' partition", "uploader (rows), collector (marks, controls)", "deduper",
		"what the vault holds")
	ChunksLanded = stream[*schemas.ChunksLanded]("chunks.landed", "backup", "uploader", "auditor",
		"places whose chunks became durable")
	TargetsTurned = table[*schemas.TargetTurned]("targets.turned", "target", "uploader", "scheduler, auditor, gateway",
		"which targets are up")
	PagesFiled = table[*schemas.PageFiled]("pages.filed", "backup", "auditor", "auditor",
		"the auditor's memory: leases, files, durable pages, verdicts")
	PlacesFiled = stream[*schemas.PlacesFiled]("places.filed", "backup", "auditor", "recorder",
		"what became of each place, for the ledger")
	ExtentsClosed = stream[*schemas.ExtentsClosed]("extents.closed", "backup", "auditor", "exporter",
		"extents whose space may go")
	BackupsFaulted = stream[*schemas.BackupFaulted]("backups.faulted", "backup", "any runner", "auditor",
		"something of a Run is lost or bad")
	InputsTroubled = stream[*schemas.InputTroubled]("inputs.troubled", "stage", "any runner", "recorder",
		"what is being retried, was refused or stands still, and why: for the ledger")
	BackupsJudged = stream[*schemas.BackupJudged]("backups.judged", "source", "auditor", "scheduler",
		"progress, failed attempts, verdicts")
	BackupsCompleted = public("backups.completed", "machine", "auditor", "anyone",
		"how a backup ended: one terminal event each")
	BackupsProgressed = public("backups.progressed", "machine", "auditor", "anyone",
		"queued, running, and how far")
	EpochsTurned = order(table[*schemas.EpochTurned]("epochs.turned", "one partition", "collector", "scheduler, auditor",
		"the order of epochs; the first record of a kind for n wins"))
	RestoresRequested  = public("restores.requested", "restore", "anyone", "restorer", "orders: restore this point there")
	RestoresProgressed = public("restores.progressed", "restore", "restorer", "anyone", "how far a restore is")
	RestoresCompleted  = public("restores.completed", "restore", "restorer", "anyone", "how a restore ended")
	RestoresOpen       = narrow(table[*schemas.RestoreOpen]("restores.open", "that of its request", "restorer", "restorer",
		"the restorer's memory: what is done of each restore"))
)

// All returns every topic in the order above, without its .refused.
func All() []Spec { return all }

// Named returns the topic of the house that is called so.
func Named(name string) (Spec, bool) {
	i := slices.IndexFunc(all, func(s Spec) bool { return s.Name == name })
	if i < 0 {
		return Spec{}, false
	}
	return all[i], true
}

// Message decodes a value of s, for who must show it and knows s only by name. ok is
// false where s carries no protobuf.
func Message(s Spec, value []byte) (m proto.Message, ok bool, err error) {
	decode := messages[s.Name]
	if decode == nil {
		return nil, false, nil
	}
	m, err = decode(value)
	return m, true, err
}

var (
	all      []Spec
	messages = map[string]func([]byte) (proto.Message, error){}
)

func typed[T proto.Message](t Topic[T]) Topic[T] {
	messages[t.Name] = func(b []byte) (proto.Message, error) { return t.Decode(b) }
	return t
}

func add(s Spec) Spec { all = append(all, s); return s }

func stream[T proto.Message](name, key, writer, reader, why string) Topic[T] {
	return typed(Topic[T]{add(Spec{Name: name, Kind: Stream, Keep: week, Key: key, Writer: writer, Reader: reader, Why: why})})
}

func table[T proto.Message](name, key, writer, reader, why string) Topic[T] {
	return typed(Topic[T]{add(Spec{Name: name, Kind: Table, Compacted: true, Key: key, Writer: writer, Reader: reader, Why: why})})
}

func public(name, key, writer, reader, why string) Raw {
	return Raw{add(Spec{Name: name, Kind: Public, Width: Narrow, Keep: month, Key: key, Writer: writer, Reader: reader, Why: why})}
}

func kept(t Raw) Raw {
	t.Compacted, t.Keep = true, 0
	all[len(all)-1] = t.Spec
	return t
}

// order is a table of which every record counts, in the order of one partition: of
// two rivals for one key the first wins, so compaction, which keeps the last, would
// change what was said.
func order[T proto.Message](t Topic[T]) Topic[T] {
	t.Compacted = false
	return widen(t, Single)
}

func narrow[T proto.Message](t Topic[T]) Topic[T] { return widen(t, Narrow) }

func widen[T proto.Message](t Topic[T], w Width) Topic[T] {
	t.Width = w
	all[len(all)-1] = t.Spec
	return t
}
