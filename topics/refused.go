package topics

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Headers of a record in <topic>.refused. It has those of the input too, and its
// key and value. Words on an input are in its partition, so they are in order.
const (
	HeaderStage = "stage" // that refused it
	HeaderInput = "input" // <physical topic>/<partition>@<offset>
	HeaderWhy   = "why"
	HeaderWhen  = "when" // RFC 3339
	// HeaderRow is in words on a row of a table that no reader may pass: its RowDigest.
	HeaderRow = "row"
	// HeaderStopped says which room stands still for it.
	HeaderStopped = "stopped"
	// HeaderBytes is in a record whose value was too large for this topic, and was cut:
	// the length that it had.
	HeaderBytes = "bytes"
	// HeaderMark makes a record a word of an operator: one of the marks below.
	HeaderMark = "mark"
	HeaderBy   = "by" // who said so
	HeaderTo   = "to" // of MarkReplayed: where it lies now

	// HeaderReplay is in a record that was put back on its topic: HeaderInput's value.
	HeaderReplay = "replay"
	// HeaderRegion says for which region a record of a region's topic is meant.
	HeaderRegion = "region"
)

// Marks of operators on a refused input.
const (
	MarkDropped   = "dropped"   // it is out of the list; of a row: readers pass it
	MarkReplaying = "replaying" // it is about to be put back; if no more follows, nobody knows whether it was
	MarkReplayed  = "replayed"
)

// RecordMax bounds key and value of a record that we write: 900 KiB. A broker takes
// batches of 1,048,588 bytes unless it is told otherwise, and the client sends
// 1,000,012; the 78,000 between are for headers: stamps (1.5 KiB), trace, and those
// of a refusal (WhyMax and 1 KiB), so that what we wrote can always be refused.
const RecordMax = 900 << 10

// WhyMax bounds the reason that a refusal carries: it may quote what came in.
const WhyMax = 4 << 10

// Position is where a record lies, by the house's name of its topic.
type Position struct {
	Topic  string
	Part   int32
	Offset int64
}

// String is how people and commands name an input: topic/partition/offset.
func (p Position) String() string { return fmt.Sprintf("%s/%d/%d", p.Topic, p.Part, p.Offset) }

// ParsePosition is the inverse of String. It also takes the words of logs and of
// HeaderInput, where an @ stands before the offset.
func ParsePosition(s string) (Position, error) {
	wrong := fmt.Errorf("%q names no record: want TOPIC/PARTITION/OFFSET", s)
	parts := strings.Split(strings.Replace(s, "@", "/", 1), "/")
	if len(parts) != 3 || parts[0] == "" {
		return Position{}, wrong
	}
	part, err := strconv.ParseInt(parts[1], 10, 32)
	offset, err2 := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || err2 != nil || part < 0 || offset < 0 {
		return Position{}, wrong
	}
	return Position{parts[0], int32(part), offset}, nil
}

// RowDigest names a row by its partition and what it says, not by its offset: a table
// that is rewritten keeps its rows, and not their offsets.
func RowDigest(t Spec, part int32, key, value []byte) string {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(part)))
	for _, part := range [][]byte{[]byte(t.Name), key, value} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil))
}
