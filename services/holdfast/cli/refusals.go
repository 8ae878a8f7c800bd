package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/topics"
)

// refusal is one input that was refused, or one row that stops rooms: a fold of what
// <topic>.refused says of it.
type refusal struct {
	At      topics.Position
	Spec    topics.Spec
	Region  string // where several are looked at; empty: the one, or a public topic
	Key     []byte
	Value   []byte
	Headers map[string]string // of the input
	Said    []saying          // by whom, in order
	Marks   []mark            // of operators, in order
	Row     string            // RowDigest, of a table's
	Cut     int               // length that the value had, if it was cut
	gone    string            // of a row: why it stops nobody any more, though nobody dropped it
}

// saying is one stage's refusal.
type saying struct {
	Stage   string    `json:"stage"`
	Why     string    `json:"why"`
	When    time.Time `json:"when"`
	Stopped string    `json:"stopped,omitempty"` // the room that stands still
}

// mark is one word of an operator.
type mark struct {
	What string    `json:"what"`
	By   string    `json:"by"`
	Why  string    `json:"why,omitempty"`
	To   string    `json:"to,omitempty"`
	When time.Time `json:"when"`
}

// refusals folds <topic>.refused, by where the input lay.
type refusals map[topics.Position]*refusal

// ours are the headers of a refusal that the input did not have.
var ours = []string{topics.HeaderStage, topics.HeaderInput, topics.HeaderWhy, topics.HeaderWhen, topics.HeaderRow, topics.HeaderStopped, topics.HeaderBytes}

// hear takes one record of s.Refused().
func (rs refusals) hear(s topics.Spec, rec client.Record) {
	h := rec.Headers
	at, err := topics.ParsePosition(h[topics.HeaderInput])
	if err != nil {
		at = topics.Position{Part: rec.Part, Offset: rec.Offset} // somebody else's; show where it lies
	}
	at.Topic = s.Name
	r := rs[at]
	if r == nil {
		r = &refusal{At: at, Spec: s}
		rs[at] = r
	}
	when, err := time.Parse(time.RFC3339, h[topics.HeaderWhen])
	if err != nil {
		when = rec.Time.UTC()
	}
	r.Row = cmp.Or(r.Row, h[topics.HeaderRow])
	if what := h[topics.HeaderMark]; what != "" {
		r.Marks = append(r.Marks, mark{what, h[topics.HeaderBy], h[topics.HeaderWhy], h[topics.HeaderTo], when})
		return
	}
	said := saying{h[topics.HeaderStage], h[topics.HeaderWhy], when, h[topics.HeaderStopped]}
	again := slices.IndexFunc(r.Said, func(s saying) bool {
		return s.Stage == said.Stage && s.Why == said.Why && s.Stopped == said.Stopped
	})
	if again < 0 { // else it came twice, as what is delivered at least once does
		r.Said = append(r.Said, said)
	}
	r.Key, r.Value, r.Headers = rec.Key, rec.Value, map[string]string{}
	for k, v := range h {
		if !slices.Contains(ours, k) {
			r.Headers[k] = v
		}
	}
	r.Cut, _ = strconv.Atoi(h[topics.HeaderBytes])
}

// id is how people name it.
func (r *refusal) id() string { return ofRegion(r.Region, r.At) }

// state is the last word on it.
func (r *refusal) state() string {
	switch {
	case len(r.Marks) > 0:
		return r.Marks[len(r.Marks)-1].What
	case r.gone != "":
		return r.gone
	case r.Row != "":
		return "stopped"
	}
	return "refused"
}

// open says whether somebody should look at it: nothing was done about it yet, or it
// is not known whether it was.
func (r *refusal) open() bool {
	s := r.state()
	return s == "refused" || s == "stopped" || s == topics.MarkReplaying
}

// replayed is the last word of who put it back, or was about to.
func (r *refusal) replayed() *mark {
	for i := range slices.Backward(r.Marks) {
		if m := &r.Marks[i]; m.What == topics.MarkReplaying || m.What == topics.MarkReplayed {
			return m
		}
	}
	return nil
}

func (r *refusal) stages() string {
	var all []string
	for _, s := range r.Said {
		name := s.Stage
		if s.Stopped != "" {
			name += "/" + s.Stopped
		}
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return strings.Join(all, ", ")
}

func (r *refusal) first() saying {
	if len(r.Said) == 0 {
		return saying{} // only words of operators are left of it
	}
	return r.Said[0]
}

func (r *refusal) last() saying {
	if len(r.Said) == 0 {
		return saying{}
	}
	return r.Said[len(r.Said)-1]
}

// foldRefused reads what was refused of these topics. Of rows it asks the table
// whether they stand there still.
func foldRefused(ctx context.Context, cl *client.Client, specs []topics.Spec) (refusals, error) {
	rs := refusals{}
	for _, s := range specs {
		for rec, err := range cl.Read(ctx, s.Refused(), 0) {
			if err != nil {
				return nil, err
			}
			rs.hear(s, rec)
		}
		if err := rs.cured(ctx, cl, s); err != nil {
			return nil, err
		}
	}
	return rs, nil
}

// cured finds the rows of s that stop nobody any more.
func (rs refusals) cured(ctx context.Context, cl *client.Client, s topics.Spec) error {
	rows := map[string]*refusal{}
	for _, r := range rs {
		if r.Spec == s && r.state() == "stopped" {
			rows[r.Row], r.gone = r, "gone"
		}
	}
	if len(rows) == 0 {
		return nil
	}
	for rec, err := range cl.Read(ctx, s, 0) {
		if err != nil {
			return err
		}
		for digest, r := range rows {
			if rec.Part == r.At.Part && string(rec.Key) == string(r.Key) && !strings.HasPrefix(r.last().Why, "panic:") {
				r.gone = "cured" // by a newer row of its key
			}
			if topics.RowDigest(s, rec.Part, rec.Key, rec.Value) == digest {
				r.gone = ""
			}
		}
	}
	return nil
}

// find is the refusal of a position, or says what is wrong with the name.
func (rs refusals) find(at topics.Position) (*refusal, error) {
	if r := rs[at]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("%s: nothing that was refused is called so; see: holdfast refused list --all", at)
}

// positionOf takes what people paste: an ID of the list, or the words of a log, which
// have the region before the topic.
func positionOf(text string) (at topics.Position, s topics.Spec, region string, err error) {
	if at, err = topics.ParsePosition(text); err != nil {
		return at, s, "", usage(err)
	}
	name := at.Topic
	for {
		if s, ok := topics.Named(name); ok {
			region = regionOf(at.Topic, name)
			at.Topic = name
			return at, s, region, nil
		}
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			return at, s, "", usage(fmt.Errorf("%s: there is no topic %s", text, at.Topic))
		}
		name = rest
	}
}
