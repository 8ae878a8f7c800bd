package scheduler

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/policy"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// Policies are declared by anyone, and a log that is compacted keeps the last word on
// each, right or wrong. So the intake takes those that are right over into a topic of
// its own, which schedulers read: a false word does not end the policy that it was
// meant to change, not even after a restart. It also brings the words of clients that
// hash keys otherwise into one order.

// headerDeclared is in a record of policies.taken: the time of the word that was
// taken. An older one, of a partition that is read again, does not come after it.
const headerDeclared = "declared"

// takenPolicy is the newest word on a policy that this room has seen taken.
type takenPolicy struct {
	declared time.Time
	dropped  bool
	event    topics.Event // of it
}

// taken hears what was taken. Two rooms may take words of two partitions at once, and
// the older may come later: then the newer is said again.
func (i *intake) taken(raw stage.Raw) {
	at, _ := time.Parse(time.RFC3339Nano, raw.Headers[headerDeclared])
	if known, ok := i.policies[string(raw.Key)]; ok && at.Before(known.declared) {
		i.room.Emit(known.event)
		return
	}
	d, _, err := policy.Taken(raw.Key, raw.Headers, raw.Value)
	i.policies[string(raw.Key)] = takenPolicy{at, err == nil && d.Dropped, topics.PoliciesTaken.Event(raw.Key, raw.Value, raw.Headers)}
}

// declared takes one word on a policy, or refuses it, and then the last one that was
// taken holds.
func (i *intake) declared(in *stage.In, raw stage.Raw) error {
	d, e, err := policy.Read(raw.Key, raw.Headers, raw.Value)
	if err == nil {
		err = i.allowed(d)
	}
	if err != nil {
		i.log.Error("a policy was refused: the last good word on it holds", "policy", string(raw.Key), "from", e.Source, "why", short(err.Error()))
		return stage.Refuse(errors.New(short(err.Error())))
	}
	if old, ok := i.policies[d.Name]; ok && raw.Time.Before(old.declared) {
		return nil
	}
	if raw.Value == nil { // it stays a word, or an older one of another partition might come back
		e, err = schemas.NewEvent(fmt.Sprintf("%s/%d/%d", topics.PoliciesDeclared.Name, in.Part, in.Offset), schemas.EventSource(i.region), raw.Time, d.Name, d)
		if err != nil {
			return err
		}
	}
	headers, value, err := schemas.EncodeEvent(e)
	if err != nil {
		return stage.Refuse(err)
	}
	headers[headerDeclared] = raw.Time.UTC().Format(time.RFC3339Nano)
	i.log.Info("policy", "policy", d.Name, "dropped", d.Dropped, "from", e.Source)
	event := topics.PoliciesTaken.Event(raw.Key, value, headers)
	i.policies[d.Name] = takenPolicy{raw.Time, d.Dropped, event}
	in.Emit(event)
	return nil
}

// allowed holds a policy against the house: its vault, and how many it has already.
func (i *intake) allowed(d schemas.PolicyDeclared) error {
	if d.Dropped {
		return nil
	}
	if d.Vault != "" && i.vault != "" && d.Vault != i.vault {
		return fmt.Errorf("data.vault: %q is none of this house, which has %q", d.Vault, i.vault)
	}
	live := 0
	for name, p := range i.policies {
		if !p.dropped && name != d.Name {
			live++
		}
	}
	if live >= policy.Max {
		return fmt.Errorf("data.name: the house has %d policies, at most %d: drop one", live, policy.Max)
	}
	return nil
}
