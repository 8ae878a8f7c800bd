package schemas

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// UUID names a job, a backup, a lease or a restore. On the wire between stages
// it is 16 raw bytes, to people and in public events its text. The zero value
// means: none.
type UUID [16]byte

// JobID is the id of the job that a request with this CloudEvents source and id
// starts. A sender can compute it before, after or without sending:
//
//	printf 'job\n%s\n%s' "$source" "$id" | sha256sum
//
// the first 16 bytes of which become a UUIDv8. Neither part can hold a newline,
// so two requests never share an id; the same request sent twice does.
func JobID(source, id string) UUID { return hashed("job", source, id) }

// RestoreID is the same for a request to restore.
func RestoreID(source, id string) UUID { return hashed("restore", source, id) }

// BackupID is the id of one machine's backup in a job. machine is the instance
// id, not the name: a machine renamed between two deliveries is still the same.
func BackupID(job UUID, source, machine string) UUID {
	return hashed("backup", job.String(), source, machine)
}

// UnknownID stands for the backup of a name that is no machine, so that its
// refusal is an event of its own beside those of its job.
func UnknownID(job UUID, name string) UUID { return hashed("unknown", job.String(), name) }

// PolicyJobID is the id of the job that a policy starts at a due time, in ms since
// 1970: of all machines that are due then.
func PolicyJobID(policy string, dueMs int64) UUID {
	return hashed("policy job", policy, fmt.Sprint(dueMs))
}

// DueID is the id of one machine's backup of that job. A due time is counted once,
// whoever computes it, and however often.
func DueID(policy, source, machine string, dueMs int64) UUID {
	return hashed("due", policy, source, machine, fmt.Sprint(dueMs))
}

// PlaceID stands for the job of an event so bad that it has no id: the place in
// the log is all that names it.
func PlaceID(topic string, part int32, offset int64) UUID {
	return hashed("place", topic, fmt.Sprint(part), fmt.Sprint(offset))
}

// hashed is the SHA-256 of the parts joined by newlines, cut to 16 bytes, with
// the version (8: "vendor specific") and variant bits of RFC 9562. SHA-256 and
// not BLAKE3, because every sender's language and shell has it.
func hashed(parts ...string) (u UUID) {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	copy(u[:], sum[:])
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return u
}

// UUIDOf reads the raw form. ok is false for anything but 16 bytes.
func UUIDOf(raw []byte) (u UUID, ok bool) {
	if len(raw) != len(u) {
		return UUID{}, false
	}
	copy(u[:], raw)
	return u, true
}

// IDText is the text of a raw id for logs and reasons; it never fails.
func IDText(raw []byte) string {
	if u, ok := UUIDOf(raw); ok {
		return u.String()
	}
	return hex.EncodeToString(raw)
}

// ParseUUID reads the text form, in either case of letters.
func ParseUUID(s string) (u UUID, err error) {
	plain := strings.ReplaceAll(s, "-", "")
	if len(s) != 36 || len(plain) != 32 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, fmt.Errorf("%q is no id: want 8-4-4-4-12 hexadecimal digits", s)
	}
	if _, err := hex.Decode(u[:], []byte(plain)); err != nil {
		return UUID{}, fmt.Errorf("%q is no id: %w", s, err)
	}
	return u, nil
}

func (u UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// Bytes returns a copy of the raw form, as protobuf fields and keys take it.
func (u UUID) Bytes() []byte { return u[:] }

// IsZero reports whether u names nothing.
func (u UUID) IsZero() bool { return u == UUID{} }

func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

func (u *UUID) UnmarshalText(b []byte) (err error) {
	*u, err = ParseUUID(string(b))
	return err
}
