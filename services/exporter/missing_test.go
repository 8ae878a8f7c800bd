package exporter

import (
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// A file that the last point has is missed, unless the order leaves it out.
func TestMissing(t *testing.T) {
	base := &schemas.Point{Files: []*schemas.BaseFile{{Key: "root.raw"}, {Key: "data.raw", SizeBytes: 7}, {Key: "swap.raw"}}}
	now := []source.File{{Key: "root.raw"}, {Key: "new.raw"}}
	got := missing(base, source.Order{Exclude: []string{"swap*"}}, now)
	if len(got) != 1 || !strings.Contains(got[0], `"data.raw" of 7 bytes`) {
		t.Errorf("missed: %q", got)
	}
	if got := missing(nil, source.Order{}, now); len(got) != 0 {
		t.Errorf("without a base: %q", got)
	}
}
