package cli

import (
	"testing"
	"time"
)

func TestBehindInWords(t *testing.T) {
	for age, want := range map[time.Duration]string{
		45 * time.Second: "behind by 45 s ", 12 * time.Minute: "behind by 12 min ", 5 * time.Hour: "behind by 5 h ", 80 * time.Hour: "behind by 3 days ",
	} {
		if got := behindWords(age, 7); got != "the ledger is "+want+"(7 records): what happened since then is not in this answer" {
			t.Errorf("%v: %s", age, got)
		}
	}
}
