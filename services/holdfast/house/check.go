package house

import (
	"errors"
	"maps"
	"slices"

	"github.com/holdfast-backup/holdfast/libs/conf"
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
)

// settings decodes what each service takes below stages.
var settings = map[string]func(*conf.Config, string) error{
	"scheduler":            sectionOf(scheduler.Default),
	"exporter":             sectionOf(exporter.Default),
	"chunker":              sectionOf(chunker.Default),
	"deduper":              sectionOf(deduper.Default),
	"compressor-encryptor": sectionOf(sealer.Default),
	"uploader":             sectionOf(uploader.Default),
	"auditor":              sectionOf(auditor.Default),
	"recorder":             sectionOf(recorder.Default),
	"restorer":             sectionOf(restorer.Default),
	"collector":            sectionOf(collector.Default),
}

func sectionOf[C any](d func() C) func(*conf.Config, string) error {
	return func(c *conf.Config, name string) error {
		v := d()
		return c.Section(name, &v)
	}
}

// Check says what is wrong with the stages' own sections: a typo in one is no
// default, and a section of no stage helps nobody. It opens nothing.
func Check(c *conf.Config) error {
	var bad conf.Findings
	for _, name := range slices.Sorted(maps.Keys(c.Stages)) {
		read, ok := settings[name]
		if !ok {
			bad = append(bad, c.Find("stages."+name, "there is no such stage"))
			continue
		}
		if err := read(c, name); err != nil {
			found, ok := errors.AsType[conf.Findings](err)
			if !ok {
				found = conf.Findings{c.Find("stages."+name, err.Error())}
			}
			bad = append(bad, found...)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return bad
}
