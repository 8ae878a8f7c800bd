package house

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/topics"
)

// The page that operators give rights by is made of what stages declare; this prints
// the table as it should be.
func TestKafkaPageTellsTheRights(t *testing.T) {
	page, err := os.ReadFile("../../../ops/docs/kafka.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	names := func(specs []topics.Spec) string {
		var list []string
		for _, s := range specs {
			list = append(list, "`"+s.Name+"`")
		}
		return strings.Join(list, ", ")
	}
	for _, service := range Catalogue {
		for _, s := range declared()[service.Name] {
			fmt.Fprintf(&table, "| %s | `<region>.%s` | %s | %s | %s |\n", service.Name, s.Name, names(s.Streams), names(append(s.Tables[:len(s.Tables):len(s.Tables)], s.Wholes...)), names(s.Writes))
		}
	}
	if !strings.Contains(string(page), table.String()) {
		t.Errorf("ops/docs/kafka.md does not have this table:\n%s", table.String())
	}
}

// Nobody may do what it does not declare, and everybody may tell what is wrong.
func TestRightsAreWhatIsDeclared(t *testing.T) {
	may := map[string]bool{}
	for who, rights := range Rights("r") {
		for _, x := range rights {
			may[fmt.Sprint(who, " ", x.Operation, " ", x.Resource, " ", x.Name)] = true
		}
	}
	for _, want := range []string{"chunker read topic r.extents.exported", "chunker read group r.chunker", "chunker write topic r.chunks.cut", "chunker write topic r.backups.faulted",
		"chunker write topic r.extents.exported.refused", "deduper read topic r.chunks.stored", "deduper read topic r.chunks.stored.refused", "scheduler read group r.intake",
		"people write topic backups.requested", "people read topic r.machines.found"} {
		if !may[want] {
			t.Errorf("not told: %s", want)
		}
	}
	for _, never := range []string{"chunker read topic r.machines.tended", "exporter write topic r.chunks.stored", "deduper write topic r.chunks.stored", "people write topic r.chunks.stored",
		"chunker read topic r.extents.exported.refused"} {
		if may[never] {
			t.Errorf("not declared, and told: %s", never)
		}
	}
}

// A coordinator's scheduler may in each of its regions what one of that region may, but
// its one intake is of one group.
func TestRightsOfACoordinator(t *testing.T) {
	may := map[string]bool{}
	for _, x := range Rights("r", "s")["scheduler"] {
		may[fmt.Sprint(x.Operation, " ", x.Resource, " ", x.Name)] = true
	}
	for _, want := range []string{"read group r.intake", "read group r.scheduler", "read group s.scheduler", "write topic s.backups.queued", "read topic s.machines.found",
		"write topic r.machines.tended", "write topic s.machines.tended", "read topic backups.requested"} {
		if !may[want] {
			t.Errorf("not told: %s", want)
		}
	}
	if may["read group s.intake"] {
		t.Error("a second intake may be")
	}
}
