package auditor

import "fmt"

// fault ends an attempt. Permanent: no other attempt would do better.
type fault struct {
	code, reason string
	permanent    bool
}

func (f *fault) Error() string { return f.code + ": " + f.reason }

// Codes of the faults that the auditor itself finds.
const (
	codeDigest   = "digest"   // a page is not what the chunker cut
	codeID       = "id"       // two answers for one place
	codeSnapshot = "snapshot" // two snapshots in one attempt
	codeBase     = "base"     // of another lease, dropped, unreadable, or not fitting
	codeShape    = "shape"    // records that contradict each other
	codeEpoch    = "epoch"    // closed before the point was in the vault
	codeOverdue  = "overdue"  // an answer that never came
)

func faultf(code, format string, a ...any) *fault {
	return &fault{code: code, reason: fmt.Sprintf(format, a...)}
}
