package house

import (
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/topics"
)

// Of two writers of a topic neither could say what it holds. The runner stops a
// stage that writes what it does not declare; here what stages declare is held
// against the page of topics: who writes and who reads is written there, and true.
func TestOneTopicHasOneWriter(t *testing.T) {
	var stages []stage.Stage
	for _, s := range Catalogue {
		stages = append(stages, declared()[s.Name]...)
	}
	if len(stages) != len(Catalogue)+1 { // the scheduler is two
		t.Errorf("%d stages here, %d services in the catalogue", len(stages), len(Catalogue))
	}
	for _, s := range stages {
		for _, spec := range s.Writes {
			if !named(spec.Writer, s.Name) && spec.Name != topics.BackupsFaulted.Name {
				t.Errorf("%s writes %s, which is %s's", s.Name, spec.Name, spec.Writer)
			}
		}
		for _, spec := range slices.Concat(s.Streams, s.Tables, s.Wholes) {
			if !named(spec.Reader, s.Name) && !named(spec.Writer, s.Name) && s.Name != "recorder" { // who reads every stream
				t.Errorf("%s reads %s, which is for %s", s.Name, spec.Name, spec.Reader)
			}
		}
	}
	for _, spec := range topics.All() {
		if spec.Kind != topics.Public && spec.Name != topics.BackupsFaulted.Name && strings.Contains(spec.Writer, ", ") {
			several := []string{topics.BackupsLeased.Name, topics.ChunksDropped.Name, topics.ChunksStored.Name} // marked (!) in the design
			if !slices.Contains(several, spec.Name) {
				t.Errorf("%s has the writers %s: one topic, one writing stage", spec.Name, spec.Writer)
			}
		}
	}
}

// named reports whether a list like "uploader (rows), collector (marks)" names a stage.
func named(list, stage string) bool {
	for of := range strings.SplitSeq(list, ",") {
		if name, _, _ := strings.Cut(strings.TrimSpace(of), " "); name == stage {
			return true
		}
	}
	return false
}
