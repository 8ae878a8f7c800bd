package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/topics"
)

func (a *app) refusedReplayCommand(region *string) *cobra.Command {
	var again bool
	c := &cobra.Command{
		Use:   "replay TOPIC/PARTITION/OFFSET...",
		Short: "Put inputs back at the end of their topic, as they were",
		Long: "Puts each input back on its topic and partition, with a header that says so. What has been put back is\n" +
			"refused, unless --again; so is what may have been, by a command that did not end.",
		Example: "  holdfast refused replay chunks.cut/2/1741",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.eachRefused(c.Context(), *region, args, func(cl *client.Client, r *refusal, _ topics.Position) error {
				return a.replay(c.Context(), cl, r, again)
			})
		},
	}
	c.Flags().BoolVar(&again, "again", false, "also what was put back before")
	return c
}

func (a *app) refusedDropCommand(region *string) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "drop TOPIC/PARTITION/OFFSET...",
		Short: "Take inputs off the list; let rooms pass a row that stops them",
		Long: "Takes inputs off the list: a mark beside them says who, when and why. A row of a table that stops rooms is\n" +
			"passed from then on, as if it had not been written: within half a minute, by every stage, for good.",
		Example: "  holdfast refused drop machines.tended/1/88 --reason 'torn by a full disk'",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.eachRefused(c.Context(), *region, args, func(cl *client.Client, r *refusal, at topics.Position) error {
				return a.drop(c.Context(), cl, r, at, reason)
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for who looks later")
	return c
}

// eachRefused does something to each of the named, and goes on when one fails. r is
// nil where nothing was refused at that position.
func (a *app) eachRefused(ctx context.Context, region string, args []string, do func(*client.Client, *refusal, topics.Position) error) error {
	type one struct {
		at     topics.Position
		region string
	}
	var all []one
	specs := map[string]topics.Spec{}
	for _, text := range args {
		at, s, in, err := positionOf(text)
		if err != nil {
			return err
		}
		all, specs[s.Name] = append(all, one{at, cmp.Or(region, in)}), s
	}
	home, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer home.Close()
	var failed error
	for _, one := range all { // each with a fold of its own: one may be named twice
		at, cl := one.at, home.Of(cmp.Or(one.region, home.Region()))
		rs, err := foldRefused(ctx, cl, []topics.Spec{specs[at.Topic]})
		if err != nil {
			return err
		}
		if err := do(cl, rs[at], at); err != nil {
			failed = worse(failed, fmt.Errorf("%s: %w", at, err))
			a.say("%s: %v", at, err)
		}
	}
	if failed != nil && len(all) > 1 {
		c, _ := errors.AsType[coded](failed)
		return quiet(max(c.code, exitFailed))
	}
	return failed
}

// worse keeps a failure rather than a refusal.
func worse(a, b error) error {
	if c, ok := errors.AsType[coded](a); a == nil || ok && c.code == exitRefused {
		return b
	}
	return a
}

// replay says that it will, does, and says that it did: so nothing is put back twice
// in silence, whatever ends between.
func (a *app) replay(ctx context.Context, cl *client.Client, r *refusal, again bool) error {
	switch {
	case r == nil:
		return errors.New("nothing was refused there; see: holdfast refused list --all")
	case r.Spec.Kind == topics.Table:
		return refused(errors.New("it is a row of a table, and behind newer ones it would undo them; drop it"))
	case r.Cut > 0:
		return refused(fmt.Errorf("only %d of its %d bytes are kept: its sender must send it again", len(r.Value), r.Cut))
	}
	if m := r.replayed(); m != nil && !again {
		if m.What == topics.MarkReplaying {
			return refused(fmt.Errorf("%s may have put it back at %s; with --again it is put back all the same", m.By, m.When.Format(time.RFC3339)))
		}
		return refused(fmt.Errorf("%s put it back at %s, as %s; with --again it is put back once more", m.By, m.When.Format(time.RFC3339), m.To))
	}
	if err := a.mark(ctx, cl, r, topics.MarkReplaying, nil); err != nil {
		return err
	}
	headers := maps.Clone(r.Headers)
	if headers == nil {
		headers = map[string]string{}
	}
	delete(headers, "stamps") // its way begins anew
	headers[topics.HeaderReplay] = r.At.String()
	to, err := cl.PublishAt(ctx, topics.Event{Topic: r.Spec, Key: r.Key, Value: r.Value, Headers: headers, Part: r.At.Part})
	if err != nil {
		return fmt.Errorf("it may be there, or not: %w", err)
	}
	if err := a.mark(ctx, cl, r, topics.MarkReplayed, map[string]string{topics.HeaderTo: to.String()}); err != nil {
		return fmt.Errorf("it is put back as %s, and that is not written down: %w", to, err)
	}
	return a.table(map[string]any{"id": r.At.String(), "to": to.String()}, []string{"ID", "TO"}, [][]string{{r.At.String(), to.String()}})
}

// drop marks r. A row that is on no list yet is looked at in its table.
func (a *app) drop(ctx context.Context, cl *client.Client, r *refusal, at topics.Position, reason string) error {
	if r == nil {
		var err error
		if r, err = badRow(ctx, cl, at); err != nil {
			return err
		}
	}
	if r.state() == topics.MarkDropped {
		a.say("%s was dropped before", at)
		return nil
	}
	more := map[string]string{topics.HeaderWhy: reason}
	if r.Row != "" {
		more[topics.HeaderRow] = r.Row
	}
	if err := a.mark(ctx, cl, r, topics.MarkDropped, more); err != nil {
		return err
	}
	state := "dropped"
	if r.Row != "" {
		state = "dropped; rooms that stand still for it go on within half a minute"
	}
	return a.table(map[string]any{"id": at.String(), "state": topics.MarkDropped}, []string{"ID", "STATE"}, [][]string{{at.String(), state}})
}

// badRow is a row of a table that does not decode. One that does is not dropped: it
// is the stage that wrote it that can take it back.
func badRow(ctx context.Context, cl *client.Client, at topics.Position) (*refusal, error) {
	s, _ := topics.Named(at.Topic)
	if s.Kind != topics.Table {
		return nil, errors.New("nothing was refused there; see: holdfast refused list --all")
	}
	for rec, err := range cl.Read(ctx, s, 0) {
		if err != nil {
			return nil, err
		}
		if rec.Part != at.Part || rec.Offset != at.Offset {
			continue
		}
		if _, _, err := topics.Message(s, rec.Value); err == nil {
			return nil, refused(errors.New("the row decodes, and stops nobody"))
		}
		return &refusal{At: at, Spec: s, Key: rec.Key, Row: topics.RowDigest(s, rec.Part, rec.Key, rec.Value)}, nil
	}
	return nil, errors.New("there is no such row")
}

// mark writes an operator's word beside what was refused.
func (a *app) mark(ctx context.Context, cl *client.Client, r *refusal, what string, more map[string]string) error {
	h := map[string]string{topics.HeaderMark: what, topics.HeaderInput: r.At.String(), topics.HeaderBy: eventSource(), topics.HeaderWhen: time.Now().UTC().Format(time.RFC3339)}
	maps.Copy(h, more)
	return cl.Publish(ctx, topics.Event{Topic: r.Spec.Refused(), Key: r.Key, Value: []byte{}, Headers: h, Part: r.At.Part})
}
