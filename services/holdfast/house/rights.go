package house

import (
	"cmp"
	"slices"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/services/auditor"
	"github.com/holdfast-backup/holdfast/services/chunker"
	"github.com/holdfast-backup/holdfast/services/collector"
	sealer "github.com/holdfast-backup/holdfast/services/compressor-encryptor"
	"github.com/holdfast-backup/holdfast/services/deduper"
	"github.com/holdfast-backup/holdfast/services/exporter"
	"github.com/holdfast-backup/holdfast/services/recorder"
	"github.com/holdfast-backup/holdfast/services/restorer"
	"github.com/holdfast-backup/holdfast/services/scheduler"
	"github.com/holdfast-backup/holdfast/services/uploader"
	"github.com/holdfast-backup/holdfast/topics"
)

// declared are the stages of each service as they are declared, with nothing to work
// with: to ask what they read and write.
func declared() map[string][]stage.Stage {
	return map[string][]stage.Stage{
		"scheduler":            {scheduler.Intake(scheduler.Default()), scheduler.Stage(scheduler.Default())},
		"exporter":             {exporter.Stage(exporter.Default(), exporter.Deps{})},
		"chunker":              {chunker.Stage(chunker.Default(), chunker.Deps{})},
		"deduper":              {deduper.Stage(deduper.Default(), deduper.Deps{})},
		"compressor-encryptor": {sealer.Stage(sealer.Default(), sealer.Deps{Ring: &vault.Ring{}})},
		"uploader":             {uploader.Stage(uploader.Default(), uploader.Deps{})},
		"auditor":              {auditor.Stage(auditor.Default(), auditor.Deps{})},
		"recorder":             {recorder.Stage(recorder.Default(), recorder.Deps{})},
		"restorer":             {restorer.Stage(restorer.Default(), restorer.Deps{})},
		"collector":            {collector.Stage(collector.Default(), collector.Deps{})},
	}
}

// People are who asks a region from outside: the command line reads every topic and
// writes orders.
const People = "people"

// Rights are what each service's user must be allowed at the brokers, and those of
// People: in one region, or, where a coordinator serves several, in each, the first
// being its home, where it is in the group of its one intake.
func Rights(home string, more ...string) map[string][]stage.Right {
	all := map[string][]stage.Right{}
	for _, region := range append([]string{home}, more...) {
		for name, rights := range rightsIn(region, region == home) {
			all[name] = append(all[name], rights...)
		}
	}
	for name := range all {
		slices.SortFunc(all[name], byWhat)
		all[name] = slices.Compact(all[name])
	}
	return all
}

func rightsIn(region string, home bool) map[string][]stage.Right {
	all := map[string][]stage.Right{}
	for name, stages := range declared() {
		for _, s := range stages {
			rights := s.Rights(region)
			if s.Coordinates() && !home {
				rights = slices.DeleteFunc(rights, func(r stage.Right) bool { return r.Resource == "group" })
			}
			all[name] = append(all[name], rights...)
		}
	}
	for _, s := range topics.All() {
		all[People] = append(all[People], stage.Right{Operation: "read", Resource: "topic", Name: s.In(region)},
			stage.Right{Operation: "read", Resource: "topic", Name: s.Refused().In(region)}, stage.Right{Operation: "write", Resource: "topic", Name: s.Refused().In(region)})
		if s.Writer == "anyone" {
			all[People] = append(all[People], stage.Right{Operation: "write", Resource: "topic", Name: s.In(region)})
		}
	}
	return all
}

func byWhat(a, b stage.Right) int {
	return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Name, b.Name))
}
