package recorder

import (
	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/schemas"
)

var hitches = map[schemas.InputTroubled_Outcome]ledger.Hitch{
	schemas.InputTroubled_OUTCOME_RETRIED: ledger.HitchRetried,
	schemas.InputTroubled_OUTCOME_REFUSED: ledger.HitchRefused,
	schemas.InputTroubled_OUTCOME_DONE:    ledger.HitchDone,
	schemas.InputTroubled_OUTCOME_STOPPED: ledger.HitchStopped,
}

// trouble is what a runner says of an input; not ok: in a word of a newer one.
func trouble(at ledger.Origin, a ledger.Attempt, m *schemas.InputTroubled) (t ledger.Trouble, ok bool) {
	what, ok := hitches[m.GetOutcome()]
	return ledger.Trouble{Origin: at, Stage: m.GetStage(), Worker: m.GetWorker(), InputTopic: m.GetTopic(), InputPart: m.GetPart(), InputOffset: m.GetOffset(),
		Outcome: what, Tries: m.GetTries(), SinceMs: m.GetSinceMs(), Reason: m.GetReason(), Attempt: a}, ok
}
