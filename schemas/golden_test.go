package schemas

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// testdata/golden holds, of every message, one with all fields filled, as bytes and
// as the text that they mean; testdata/v1.descriptors is every field there ever was.
// What lies in topics, tables and points was written like that, and is read for ever.
// -update-golden adds what is new and never changes what is there.
var updateGolden = flag.Bool("update-golden", false, "freeze new messages and fields in testdata")

const descriptors = "testdata/v1.descriptors"

// messages are all of the house, those within others too.
func messages(t *testing.T) map[protoreflect.FullName]protoreflect.MessageDescriptor {
	t.Helper()
	all := map[protoreflect.FullName]protoreflect.MessageDescriptor{}
	var add func(protoreflect.MessageDescriptors)
	add = func(ms protoreflect.MessageDescriptors) {
		for i := range ms.Len() {
			all[ms.Get(i).FullName()] = ms.Get(i)
			add(ms.Get(i).Messages())
		}
	}
	protoregistry.GlobalFiles.RangeFilesByPackage("holdfast.v1", func(f protoreflect.FileDescriptor) bool {
		add(f.Messages())
		return true
	})
	if len(all) < 40 {
		t.Fatalf("only %d messages are known", len(all))
	}
	return all
}

// deep is how far messages within messages are filled: some hold their own kind.
const deep = 3

// filled sets every field of m, a different value each; of a oneof the last that it
// comes to, if word is not one of its own.
func filled(m protoreflect.Message, word protoreflect.FieldDescriptor, n *uint64, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if o := f.ContainingOneof(); o != nil && word != nil && o == word.ContainingOneof() && f != word {
			continue
		}
		switch {
		case f.IsMap():
			v := m.Mutable(f).Map()
			v.Set(value(f.MapKey(), n).MapKey(), value(f.MapValue(), n))
		case f.Message() != nil && depth == deep:
		case f.IsList():
			v := m.Mutable(f).List()
			for range 2 {
				v.Append(element(f, v, n, depth+1))
			}
		case f.Message() != nil:
			filled(m.Mutable(f).Message(), nil, n, depth+1)
		default:
			m.Set(f, value(f, n))
		}
	}
}

func element(f protoreflect.FieldDescriptor, l protoreflect.List, n *uint64, depth int) protoreflect.Value {
	if f.Message() == nil {
		return value(f, n)
	}
	v := l.NewElement()
	filled(v.Message(), nil, n, depth)
	return v
}

func value(f protoreflect.FieldDescriptor, n *uint64) protoreflect.Value {
	*n++
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		vs := f.Enum().Values()
		return protoreflect.ValueOfEnum(vs.Get(vs.Len() - 1).Number())
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(*n * 7919))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(*n * 7919 << 20)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(-int32(*n * 7919))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(-int64(*n * 7919 << 20))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(*n) + 0.5)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(*n) + 0.5)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(fmt.Sprint(f.Name(), "-", *n))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(fmt.Append(nil, f.Name(), "\x00\xff", *n))
	}
	panic("a field of kind " + f.Kind().String())
}

func empty(d protoreflect.MessageDescriptor) protoreflect.Message {
	t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		panic(err)
	}
	return t.New()
}

// words are the ways to fill a message: one for each word of its oneof, if it has one.
func words(d protoreflect.MessageDescriptor) (all []protoreflect.FieldDescriptor) {
	for i := range d.Oneofs().Len() {
		o := d.Oneofs().Get(i)
		for j := range o.Fields().Len() {
			if !o.IsSynthetic() {
				all = append(all, o.Fields().Get(j))
			}
		}
	}
	if len(all) == 0 {
		all = append(all, nil)
	}
	return all
}

// freeze writes a golden of each message that has fields which no golden shows.
func freeze(t *testing.T) {
	for name, d := range messages(t) {
		if d.IsMapEntry() {
			continue
		}
		for _, word := range words(d) {
			m, n := empty(d), uint64(0)
			filled(m, word, &n, 0)
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
			if err != nil {
				t.Fatal(err)
			}
			base := string(name.Name())
			if p, ok := d.Parent().(protoreflect.MessageDescriptor); ok {
				base = string(p.Name()) + "." + base
			}
			if word != nil {
				base += "-" + string(word.Name())
			}
			save(t, base, b, m.Interface())
		}
	}
	var set descriptorpb.FileDescriptorSet
	protoregistry.GlobalFiles.RangeFilesByPackage("holdfast.v1", func(f protoreflect.FileDescriptor) bool {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
		return true
	})
	slices.SortFunc(set.File, func(a, b *descriptorpb.FileDescriptorProto) int {
		return bytes.Compare([]byte(a.GetName()), []byte(b.GetName()))
	})
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&set)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(descriptors, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func save(t *testing.T, base string, b []byte, m proto.Message) {
	text, err := prototext.MarshalOptions{Multiline: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for v := 1; ; v++ {
		path := filepath.Join("testdata", "golden", fmt.Sprintf("%s.v%d", base, v))
		old, err := os.ReadFile(path + ".bin")
		if bytes.Equal(old, b) {
			return
		}
		if err == nil {
			continue // it stays, and the new one stands beside it
		}
		for ext, body := range map[string][]byte{".bin": b, ".txt": append([]byte("# "+string(m.ProtoReflect().Descriptor().FullName())+"\n"), text...)} {
			if err := os.WriteFile(path+ext, body, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
}
