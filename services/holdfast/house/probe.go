package house

import (
	"context"
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/blob/file"
	"github.com/holdfast-backup/holdfast/libs/blob/probe"
	"github.com/holdfast-backup/holdfast/libs/blob/s3"
	"github.com/holdfast-backup/holdfast/libs/conf"
)

// Probe tries one target of several.
func Probe(ctx context.Context, all []conf.Target, t conf.Target) probe.Findings {
	if t.Kind == "s3" {
		found := s3.Probe(ctx, Bucket(t))
		if strings.HasPrefix(t.URL, "http:") {
			found.Say("privacy", probe.Note, "over http, whoever is on the way reads what is sent and which keys are used; chunks are sealed, names are not")
		}
		return append(found, beside(all, t)...)
	}
	return append(file.Probe(ctx, t.Path), beside(all, t)...)
}

// beside says which other targets are lost with this one.
func beside(all []conf.Target, t conf.Target) (out probe.Findings) {
	place := func(t conf.Target) string {
		if t.Kind == "s3" {
			return fmt.Sprint("the server ", t.URL)
		}
		device, err := file.Device(t.Path)
		if err != nil {
			return ""
		}
		return "device " + device
	}
	var others []string
	here := place(t)
	for _, o := range all {
		if o.Name != t.Name && here != "" && place(o) == here {
			others = append(others, o.Name)
		}
	}
	if len(others) > 0 {
		out.Say("apart", probe.Note, "%s holds %s too: they are lost together", here, strings.Join(others, ", "))
	} else if len(all) > 1 && here != "" {
		out.Say("apart", probe.OK, "no other target is on %s", here)
	}
	return out
}
