package e2e

import (
	"math"
	"math/rand/v2"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/holdfast-backup/holdfast/schemas"
)

// absurdity makes messages that decode and make no sense: counts that are huge or
// below nothing, ids of any length, columns of lengths that differ, enums nobody knows.
// sane is the share of fields that are as they should be, so that what a first check
// refuses does not hide what lies behind it.
type absurdity struct {
	rng  *rand.Rand
	run  *schemas.Run // that sane messages are of
	sane float64
	rows int // of the columns of one message
}

var (
	absurdNumbers = []uint64{0, 1, 2, 63, 64, 65, 1 << 16, 1 << 24, 1<<31 - 1, 1 << 31, math.MaxUint32, 1 << 32, 1<<63 - 1, 1 << 63, math.MaxUint64}
	absurdLengths = []int{0, 1, 15, 16, 17, 31, 32, 33, 64, 100, 32 * 64, 32*64 + 1}
	absurdWords   = []string{"", "x", "source", "vm", "../../../etc/passwd", "/", "\x00", "a/b/c", "4294967296", "e1-00"}
)

// message fills one of this kind.
func (a *absurdity) message(m protoreflect.Message, depth int) {
	a.rows = a.rng.IntN(5)
	rows := a.rows
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Name() == "run" && a.rng.Float64() < a.sane {
			m.Set(f, protoreflect.ValueOfMessage(proto.CloneOf(a.run).ProtoReflect()))
			continue
		}
		if o := f.ContainingOneof(); o != nil && (m.WhichOneof(o) != nil || a.rng.IntN(o.Fields().Len()) != 0) {
			continue
		}
		if a.rng.IntN(8) == 0 || f.Message() != nil && depth > 4 {
			continue
		}
		a.field(m, f, depth, rows)
	}
}

func (a *absurdity) field(m protoreflect.Message, f protoreflect.FieldDescriptor, depth, rows int) {
	switch {
	case f.IsMap():
	case f.IsList():
		if a.rng.Float64() >= a.sane {
			rows = a.rng.IntN(70)
		}
		if depth > 0 && f.Message() != nil {
			rows = min(rows, 2) // a message may hold its own kind
		}
		l := m.Mutable(f).List()
		for range rows {
			l.Append(a.value(f, l.NewElement(), depth, rows))
		}
	default:
		var old protoreflect.Value
		if f.Message() != nil {
			old = m.NewField(f)
		}
		m.Set(f, a.value(f, old, depth, rows))
	}
}

func (a *absurdity) value(f protoreflect.FieldDescriptor, old protoreflect.Value, depth, rows int) protoreflect.Value {
	n := absurdNumbers[a.rng.IntN(len(absurdNumbers))]
	if a.rng.Float64() < a.sane {
		n = a.rng.Uint64N(4)
	}
	switch f.Kind() {
	case protoreflect.MessageKind:
		a.message(old.Message(), depth+1)
		return old
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(a.bytes(string(f.Name()), rows))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(absurdWords[a.rng.IntN(len(absurdWords))])
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(a.rng.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(int32(uint32(n))))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(n)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(uint32(n)))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(n))
	}
	return f.Default()
}

// bytes are ids, or columns of them.
func (a *absurdity) bytes(name string, rows int) []byte {
	n := absurdLengths[a.rng.IntN(len(absurdLengths))]
	if a.rng.Float64() < a.sane {
		switch name {
		case "ids", "digests":
			n = 32 * rows
		case "known":
			n = rows
		case "blake3":
			n = 32
		default:
			n = 16
		}
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(a.rng.Uint32())
	}
	return b
}
