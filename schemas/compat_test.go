package schemas

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

func TestUpdateGolden(t *testing.T) {
	if !*updateGolden {
		t.Skip("run with -update-golden to freeze new messages and fields")
	}
	if bad := changed(t); len(bad) > 0 {
		t.Fatalf("not frozen: what is there was changed: %v", bad)
	}
	freeze(t)
}

// goldens yields what was ever written: its bytes, and what they mean.
func goldens(t *testing.T, f func(t *testing.T, b []byte, meant proto.Message)) {
	t.Helper()
	files, err := filepath.Glob("testdata/golden/*.bin")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d goldens: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".bin"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(strings.TrimSuffix(file, ".bin") + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			name, _, _ := bytes.Cut(bytes.TrimPrefix(text, []byte("# ")), []byte("\n"))
			typ, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
			if err != nil {
				t.Fatal(err)
			}
			meant := typ.New().Interface()
			if err := prototext.Unmarshal(text, meant); err != nil {
				t.Fatal(err)
			}
			f(t, b, meant)
		})
	}
}

// What was written yesterday means today what it meant, and is written as it was.
func TestYesterdaysBytesMeanTheSame(t *testing.T) {
	goldens(t, func(t *testing.T, b []byte, meant proto.Message) {
		m := meant.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(b, m); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(m, meant) {
			t.Errorf("it means %v, and meant %v", m, meant)
		}
		if again, err := (proto.MarshalOptions{Deterministic: true}).Marshal(m); err != nil || !bytes.Equal(again, b) {
			t.Errorf("it is written otherwise: %x, %v", again, err)
		}
	})
}

// What a newer program writes is read: fields that are not known yet, in every
// message within, are carried on, and a word of an enum that is not known stays what
// it is. So a row that passes through an older program loses nothing.
func TestTomorrowsBytesAreCarriedOn(t *testing.T) {
	goldens(t, func(t *testing.T, _ []byte, meant proto.Message) {
		tomorrow(meant.ProtoReflect())
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(meant)
		if err != nil {
			t.Fatal(err)
		}
		m := meant.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(b, m); err != nil {
			t.Fatal(err)
		}
		if again, err := (proto.MarshalOptions{Deterministic: true}).Marshal(m); err != nil || !bytes.Equal(again, b) {
			t.Errorf("of %d bytes %d are left: %v", len(b), len(again), err)
		}
		if m = proto.Clone(m); !proto.Equal(m, meant) {
			t.Error("a copy has lost what is not known")
		}
	})
}

// tomorrow makes m one of a newer program, and all within it.
func tomorrow(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
		case f.Kind() == protoreflect.EnumKind && !f.IsList():
			m.Set(f, protoreflect.ValueOfEnum(99))
		case f.Message() != nil && f.IsList():
			for i := range v.List().Len() {
				tomorrow(v.List().Get(i).Message())
			}
		case f.Message() != nil:
			tomorrow(v.Message())
		}
		return true
	})
	b := protowire.AppendTag(m.GetUnknown(), 9999, protowire.BytesType)
	m.SetUnknown(protowire.AppendString(b, "of tomorrow"))
}

// Fields and words are only added: a number that was ever given means for ever what
// it meant, under the name that it had; and what was reserved stays so.
func TestFieldsAreOnlyAdded(t *testing.T) {
	for _, bad := range changed(t) {
		t.Error(bad)
	}
	frozen := frozenFields(t)
	for name, d := range messages(t) {
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			if _, ok := frozen[fieldKey(string(name), f.Number())]; !ok {
				t.Errorf("%s.%s is new: freeze it with go test ./schemas -run UpdateGolden -update-golden", name, f.Name())
			}
		}
	}
}

func fieldKey(message string, no protoreflect.FieldNumber) string {
	return fmt.Sprint(message, " ", no)
}

// frozenFields are what each number of each message was ever given for; a message, an
// enum's word and a reserved range are entries too.
func frozenFields(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(descriptors)
	if os.IsNotExist(err) && *updateGolden {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(b, &set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool { entries(all, f); return true })
	return all
}

// changed says what is not as it was frozen.
func changed(t *testing.T) (bad []string) {
	t.Helper()
	now := map[string]string{}
	protoregistry.GlobalFiles.RangeFilesByPackage("holdfast.v1", func(f protoreflect.FileDescriptor) bool { entries(now, f); return true })
	for key, was := range frozenFields(t) {
		if is := now[key]; is != was {
			bad = append(bad, fmt.Sprintf("%s was %q and is %q: fields are only added", key, was, is))
		}
	}
	return bad
}

type container interface {
	Messages() protoreflect.MessageDescriptors
	Enums() protoreflect.EnumDescriptors
}

func entries(all map[string]string, in container) {
	for i := range in.Enums().Len() {
		e := in.Enums().Get(i)
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			all[fmt.Sprint(e.FullName(), " word ", v.Number())] = string(v.Name())
		}
	}
	for i := range in.Messages().Len() {
		m := in.Messages().Get(i)
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			of, within := "", ""
			if f.Message() != nil {
				of = string(f.Message().FullName())
			} else if f.Enum() != nil {
				of = string(f.Enum().FullName())
			}
			if o := f.ContainingOneof(); o != nil {
				within = string(o.Name())
			}
			all[fieldKey(string(m.FullName()), f.Number())] = fmt.Sprint(f.Name(), " ", f.Cardinality(), " ", f.Kind(), " ", of, " ", within, " ", f.IsPacked())
		}
		for j := range m.ReservedRanges().Len() {
			r := m.ReservedRanges().Get(j)
			for no := r[0]; no < r[1]; no++ {
				all[fieldKey(string(m.FullName()), no)] = "reserved"
			}
		}
		entries(all, m)
	}
}
