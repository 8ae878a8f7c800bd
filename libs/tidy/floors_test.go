package tidy

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const house = "github.com/holdfast-backup/holdfast/"

// floors: a package imports only what lies strictly below it, and libs each
// other. The longest prefix wins.
var floors = []struct {
	prefix string
	floor  int
}{
	{"schemas", 0},
	{"topics", 1},
	{"libs/", 2},
	{"libs/stage", 3},
	{"libs/stage/client", 4},
	{"libs/stage/kafkatest", 4},
	{"libs/stage/stagetest", 4},
	{"ops/standalone/", 5},
	{"ops/standalone/clickhouse/clickhousetest", 6},
	{"services/", 5},
	{"services/holdfast", 6},
	{"loadtest", 7},
	{"libs/tidy", 7},
}

// keepers: each vendor's module has one package that may import it, so that its
// ways stay in one place and it can be replaced there.
var keepers = map[string][]string{
	"github.com/twmb/franz-go/pkg/kfake":   {"ops/standalone/broker", "libs/stage/stagetest", "libs/stage"},
	"github.com/twmb/franz-go":             {"libs/stage", "ops/standalone/broker"},
	"github.com/vmware/govmomi":            {"libs/source/vsphere", "ops/standalone/vcenter"},
	"github.com/aws/aws-sdk-go-v2":         {"libs/blob/s3"},
	"github.com/aws/smithy-go":             {"libs/blob/s3"},
	"github.com/ClickHouse/clickhouse-go":  {"libs/ledger"},
	"github.com/klauspost/reedsolomon":     {"libs/shard"},
	"github.com/klauspost/compress":        {"libs/seal", "libs/vmdk"},
	"github.com/cockroachdb/pebble":        {"services/deduper", "libs/index"},
	"github.com/robfig/cron":               {"libs/policy"},
	"github.com/spf13/cobra":               {"services/holdfast"},
	"github.com/diskfs/go-diskfs":          {"services/holdfast/demo"},
	"github.com/goccy/go-yaml":             {"libs/conf"},
	"github.com/prometheus/client_golang":  {"libs/watch", "libs/stage"},
	"go.opentelemetry.io/otel/sdk":         {"libs/watch"},
	"github.com/holdfast-backup/holdfast/": nil,
}

type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func packages(t *testing.T) (all []pkg) {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func floor(path string) int {
	best, at := -1, -1
	for _, f := range floors {
		p := strings.TrimSuffix(f.prefix, "/")
		if (path == p || strings.HasPrefix(path, p+"/")) && len(p) > at {
			best, at = f.floor, len(p)
		}
	}
	return best
}

func TestImportsGoDownOnly(t *testing.T) {
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, house)
		if floor(from) < 0 {
			t.Errorf("%s stands on no floor: give it one in floors_test.go, or a place in the tree", from)
		}
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, house)
			if !ours {
				continue
			}
			if strings.HasPrefix(to, "libs/stage/stagetest") || strings.HasSuffix(to, "test") {
				if !strings.HasSuffix(from, "test") {
					t.Errorf("%s imports %s, which is for tests", from, to)
				}
			}
			same := floor(from) == floor(to) && (floor(from) == 2 || floor(from) == 6 || service(from) == service(to) && service(from) != "")
			if floor(to) >= floor(from) && !same {
				t.Errorf("%s (floor %d) imports %s (floor %d): imports go down only, so that a change is felt above it and nowhere else",
					from, floor(from), to, floor(to))
			}
		}
	}
}

// service is the service that a package belongs to, or nothing.
func service(path string) string {
	parts := strings.Split(path, "/")
	if len(parts) < 2 || parts[0] != "services" {
		return ""
	}
	return parts[1]
}

func TestEachVendorHasOneKeeper(t *testing.T) {
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, house)
		for _, imp := range p.Imports {
			vendor := ""
			for v := range keepers {
				if strings.HasPrefix(imp, v) && len(v) > len(vendor) {
					vendor = v
				}
			}
			if vendor == "" || keepers[vendor] == nil {
				continue
			}
			kept := false
			for _, k := range keepers[vendor] {
				kept = kept || from == k || strings.HasPrefix(from, k+"/")
			}
			if !kept {
				t.Errorf("%s imports %s: only %s may, so that the vendor's ways stay in one place", from, imp, strings.Join(keepers[vendor], " and "))
			}
		}
	}
}
