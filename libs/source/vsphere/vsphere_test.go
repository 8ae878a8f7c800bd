package vsphere_test

import (
	"testing"

	"github.com/holdfast-backup/holdfast/libs/source/sourcetest"
)

// The contract's suite, on a demo vCenter, by each way to read.
func TestSource(t *testing.T) {
	for _, transport := range []string{"auto", "nfc", "datastore"} {
		t.Run(transport, func(t *testing.T) {
			sourcetest.Run(t, func(t *testing.T) sourcetest.World { return suite(t, transport, transport == "auto") })
		})
	}
}
