package schemas

import "time"

// Words of the public events for the values of the internal ones.

// StatusWord of a verdict; empty for none.
func StatusWord(s Status) string {
	return map[Status]string{Status_STATUS_COMPLETED: "completed", Status_STATUS_FAILED: "failed",
		Status_STATUS_REFUSED: "refused", Status_STATUS_CANCELLED: "cancelled"}[s]
}

// ConsistencyWord of a snapshot; empty where it is not known.
func ConsistencyWord(c Consistency) string {
	return map[Consistency]string{Consistency_CONSISTENCY_FUZZY: "fuzzy", Consistency_CONSISTENCY_CRASH: "crash",
		Consistency_CONSISTENCY_FILESYSTEM: "filesystem", Consistency_CONSISTENCY_APPLICATION: "application"}[c]
}

// EventSource is the CloudEvents source of what a region says.
func EventSource(region string) string { return "/holdfast/" + region }

// CompletedID is the CloudEvents id of a backup's terminal event: a repeat has
// the same, so that a reader can tell.
func CompletedID(backup UUID, status string) string { return backup.String() + "/" + status }

// Path names a machine as a request does, and as the key of its public events.
func (m MachineRef) Path() string {
	if m.ID == "" {
		return m.Name
	}
	return m.Source + "/" + m.ID
}

// MachineRefOf is m in public events.
func MachineRefOf(m *Machine) MachineRef {
	return MachineRef{Source: m.GetSource(), ID: m.GetId(), Name: m.GetName()}
}

// JobRefOf is j in public events.
func JobRefOf(j *Job) JobRef {
	id, _ := UUIDOf(j.GetId())
	return JobRef{ID: id, Of: j.GetOf()}
}

// BytesOf is t in public events.
func BytesOf(t *Totals) BackupBytes {
	return BackupBytes{Size: t.GetBytes(), Read: t.GetReadBytes(), Fresh: t.GetFreshBytes(), Known: t.GetKnownBytes(),
		Zero: t.GetZeroBytes(), Inherited: t.GetInheritedBytes(), Stored: t.GetStoredBytes()}
}

// milliMax is the end of the year 9999: JSON has no later times.
var milliMax = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() - 1

// MilliTime is the time of a field that ends in _ms; 0, and what no clock of ours
// says, is the zero time.
func MilliTime(ms int64) time.Time {
	if ms <= 0 || ms > milliMax {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
