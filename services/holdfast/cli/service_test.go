package cli

import (
	"testing"

	"github.com/holdfast-backup/holdfast/schemas"
)

// A key is one job, whoever sends it and how often; without one each request is its own.
func TestAKeyIsOneJob(t *testing.T) {
	job := func(key string) schemas.UUID {
		source, id := sender(key)
		return schemas.JobID(source, id)
	}
	a, again, b, none, another := job("a"), job("a"), job("b"), job(""), job("")
	if a != again || a == b || none == another {
		t.Errorf("of a: %v %v, of b: %v, of none: %v %v", a, again, b, none, another)
	}
	if source, _ := sender("a"); source == eventSource() {
		t.Errorf("a key is another's job from another computer: its source is %s", source)
	}
}
