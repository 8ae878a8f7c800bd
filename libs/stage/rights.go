package stage

import (
	"cmp"
	"slices"

	"github.com/holdfast-backup/holdfast/topics"
)

// Right is one thing that a stage must be allowed to do where brokers ask who is
// there: read or write a topic (to see it goes with either), or read its group,
// which is to join it and to commit.
type Right struct {
	Operation string `json:"operation"` // read or write
	Resource  string `json:"resource"`  // topic or group
	Name      string `json:"name"`
}

// Rights are all that s needs in a region: what it declares, and what its runner does
// for it. That writes inputs which no retry cures to their .refused, and says so in two
// topics; and it reads, in the .refused of a table, that a bad row may be passed.
func (s Stage) Rights(region string) (all []Right) {
	add := func(op string, specs ...topics.Spec) {
		for _, t := range specs {
			all = append(all, Right{op, "topic", t.In(region)})
		}
	}
	rows := slices.Concat(s.Tables, s.Wholes)
	for _, t := range slices.Concat(s.Streams, rows) {
		add("read", t)
		add("write", t.Refused())
	}
	for _, t := range rows {
		add("read", t.Refused())
	}
	add("write", s.Writes...)
	add("write", topics.BackupsFaulted.Spec, topics.InputsTroubled.Spec)
	all = append(all, Right{"read", "group", region + "." + s.Name})
	slices.SortFunc(all, func(a, b Right) int {
		return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(all)
}
