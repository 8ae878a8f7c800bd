package schemas

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	validate "github.com/santhosh-tekuri/jsonschema/v6"
)

// The JSON Schemas in events/ are made from the Go types and their comments:
//
//	go test ./schemas -run JSONSchemas -update
//
// writes them; without -update the test says where files and types differ.
var update = flag.Bool("update", false, "write schemas/events")

func TestJSONSchemas(t *testing.T) {
	comments := publicComments(t)
	for _, e := range examples() {
		_, inbound := e.data.(Inbound)
		r := jsonschema.Reflector{Anonymous: true, DoNotReference: true, AllowAdditionalProperties: !inbound,
			LookupComment: func(t reflect.Type, field string) string { return comments[t.Name()+"."+field] },
			Mapper: func(t reflect.Type) *jsonschema.Schema {
				if t == reflect.TypeFor[UUID]() {
					return &jsonschema.Schema{Type: "string", Format: "uuid"}
				}
				return nil
			}}
		s := r.Reflect(e.data)
		s.Title = e.data.EventType()
		same(t, s.Title+".schema.json", s)
		same(t, s.Title+".example.json", e.structured())
	}
}

func TestExamplesAreValid(t *testing.T) {
	for _, e := range examples() {
		typ := e.data.EventType()
		file, err := os.ReadFile(filepath.Join("events", typ+".example.json"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeEvent(nil, file)
		if err != nil || got.Type != typ {
			t.Errorf("%s: got %s, %v", typ, got.Type, err)
			continue
		}
		if err := schemaOf(t, typ).Validate(instance(t, got.Data)); err != nil {
			t.Error(err)
		}
		if err := readAny(got, e.data); err != nil {
			t.Error(err)
		}
	}
}

// The two readers of what comes in, the schema and ReadData, agree.
func TestSchemaAndReaderAgree(t *testing.T) {
	s := schemaOf(t, TypeBackupRequested)
	for _, data := range []string{`{}`, `{"machines":["a"]}`, `{"machine":["a"]}`, `{"machines":"a"}`, `{"machines":[1]}`, `{"mode":"full"}`, `{"mode":"ful"}`,
		`{"priority":1.5}`, `{"selectors":[{"name":"a"}]}`, `{"selectors":[{"nme":"a"}]}`, `{"machines":null}`, `[]`} {
		invalid := s.Validate(instance(t, []byte(data)))
		_, err := ReadData[BackupRequested](Event{Type: TypeBackupRequested, Data: []byte(data)})
		if (invalid == nil) != (err == nil) {
			t.Errorf("%s: the schema says %v, ReadData %v", data, invalid, err)
		}
	}
}

func readAny(e Event, data Public) (err error) {
	switch data.(type) {
	case BackupRequested:
		_, err = ReadData[BackupRequested](e)
	case BackupCancel:
		_, err = ReadData[BackupCancel](e)
	case PolicyDeclared:
		_, err = ReadData[PolicyDeclared](e)
	case RestoreRequested:
		_, err = ReadData[RestoreRequested](e)
	case BackupCompleted:
		_, err = ReadData[BackupCompleted](e)
	}
	return err
}

func same(t *testing.T, name string, v any) {
	t.Helper()
	want, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	path := filepath.Join("events", name)
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(path); err != nil {
		t.Error(err)
	} else if !bytes.Equal(have, want) {
		t.Errorf("%s is not what the Go types say: go test ./schemas -run JSONSchemas -update", path)
	}
}

func schemaOf(t *testing.T, typ string) *validate.Schema {
	t.Helper()
	c := validate.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(filepath.Join("events", typ+".schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func instance(t *testing.T, raw []byte) any {
	t.Helper()
	v, err := validate.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// publicComments reads the doc comments of the public types: "Type." and "Type.Field".
func publicComments(t *testing.T) map[string]string {
	t.Helper()
	comments := map[string]string{}
	for _, name := range []string{"public.go", "public_policy.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		readComments(file, comments)
	}
	return comments
}

func readComments(file *ast.File, comments map[string]string) {
	text := func(g *ast.CommentGroup) string { return strings.Join(strings.Fields(g.Text()), " ") }
	ast.Inspect(file, func(n ast.Node) bool {
		decl, ok := n.(*ast.GenDecl)
		if !ok || decl.Tok != token.TYPE {
			return true
		}
		spec := decl.Specs[0].(*ast.TypeSpec)
		comments[spec.Name.Name+"."] = text(decl.Doc)
		if st, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range st.Fields.List {
				comments[spec.Name.Name+"."+f.Names[0].Name] = text(f.Doc)
			}
		}
		return false
	})
}
