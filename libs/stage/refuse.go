package stage

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// refusal is what an input leaves behind that no retry will cure: itself, with
// the reason, and word to the auditor if it is of a Run. A fault that cannot be
// taken in must not breed another.
func (m *member) refusal(in *In, why error) []*kgo.Record {
	r, rec := m.run, in.rec
	headers := append(rec.Headers[:len(rec.Headers):len(rec.Headers)],
		kgo.RecordHeader{Key: "stage", Value: []byte(r.stage.Name)},
		kgo.RecordHeader{Key: "input", Value: []byte(in.String())},
		kgo.RecordHeader{Key: "why", Value: []byte(why.Error())})
	recs := []*kgo.Record{{Topic: r.refused[rec.Topic], Key: rec.Key, Value: rec.Value, Headers: headers, Partition: -1}}
	of, ok := in.msg.(interface{ GetRun() *schemas.Run })
	if !ok || of.GetRun() == nil || rec.Topic == topics.BackupsFaulted.In(r.env.Region) {
		return recs
	}
	return append(recs, m.records([]topics.Event{topics.BackupsFaulted.Event(of.GetRun().GetBackup(), &schemas.BackupFaulted{
		Run: of.GetRun(), Stage: r.stage.Name, Code: "refused", Reason: in.String() + ": " + why.Error(), Whole: true,
	})}, in.origin())...)
}
