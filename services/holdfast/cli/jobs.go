package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

func (a *app) jobsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "jobs [JOB]",
		Short: "What was asked for, and how it stands",
		Example: "  holdfast jobs\n" +
			"  holdfast jobs 7c1f9a2e -o json",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			js, cl, err := a.foldJobs(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			if len(args) == 0 {
				return a.listJobs(js)
			}
			j, err := js.find(args[0])
			if err != nil {
				return err
			}
			return a.showJob(j)
		},
	}
	c.AddCommand(&cobra.Command{
		Use:     "cancel JOB",
		Short:   "End a job: what waits and what runs of it; what is done stays",
		Example: "  holdfast jobs cancel 7c1f9a2e\n  holdfast jobs cancel 7c1f9a2e-9f03-8d41-8c55-0f2b8a6b2b1e",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.cancel(c.Context(), args[0]) },
	})
	return c
}

// foldJobs reads what the public topics still tell.
func (a *app) foldJobs(ctx context.Context) (jobs, *client.Client, error) {
	cl, err := a.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	js := jobs{}
	for _, s := range []topics.Spec{topics.BackupsRequested.Spec, topics.BackupsProgressed.Spec, topics.BackupsCompleted.Spec} {
		for rec, err := range cl.Read(ctx, s, 0) {
			if err != nil {
				cl.Close()
				return nil, nil, err
			}
			js.hear(rec)
		}
	}
	return js, cl, nil
}

func (a *app) listJobs(js jobs) error {
	all := slices.SortedFunc(maps.Values(js), func(x, y *job) int { return cmp.Compare(x.since().UnixMilli(), y.since().UnixMilli()) })
	var rows [][]string
	list := []any{}
	for _, j := range all {
		count := map[string]int{}
		for _, b := range j.Backups {
			count[b.state()]++
		}
		if len(j.Backups) == 0 && j.whole != nil {
			count["refused"] = 1
		}
		state := "running"
		if len(j.Backups) == 0 {
			state = "asked"
		}
		if j.over() {
			state = "done"
		}
		rows = append(rows, []string{j.ID.String(), state, fmt.Sprint(max(j.Of, uint32(len(j.Backups)))), counted(count), j.since().UTC().Format(time.RFC3339)})
		list = append(list, map[string]any{"id": j.ID, "of": j.Of, "over": j.over(), "counts": count, "since": j.since().UTC()})
	}
	return a.table(map[string]any{"jobs": list}, []string{"JOB", "STATE", "BACKUPS", "ENDED", "SINCE"}, rows)
}

func counted(count map[string]int) (s string) {
	for _, k := range slices.Sorted(maps.Keys(count)) {
		if s != "" {
			s += " "
		}
		s += fmt.Sprint(k, "=", count[k])
	}
	return s
}

// since is when the job was first heard of.
func (j *job) since() (at time.Time) {
	first := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	first(j.Asked)
	for _, b := range j.Backups {
		if b.Last != nil {
			first(b.Last.QueuedAt)
		}
		if b.End != nil {
			first(cmp.Or(b.End.QueuedAt, b.End.DoneAt))
		}
	}
	if j.whole != nil {
		first(j.whole.DoneAt)
	}
	return at
}

func (a *app) showJob(j *job) error {
	var rows [][]string
	list := []any{}
	for _, b := range j.sorted() {
		n := b.bytes()
		rows = append(rows, []string{b.machine().Path(), b.state(), fmt.Sprintf("%.0f%%", 100*b.share()), a.bytesOf(n.Read), a.bytesOf(n.Stored), b.reason()})
		one := map[string]any{"machine": b.machine(), "state": b.state(), "bytes": n, "reason": b.reason()}
		if b.End != nil {
			one["end"] = b.End
		}
		list = append(list, one)
	}
	if len(j.Backups) == 0 && j.whole != nil {
		rows = append(rows, []string{"-", j.whole.Status, "-", "-", "-", j.whole.Reason})
		list = append(list, map[string]any{"state": j.whole.Status, "reason": j.whole.Reason})
	}
	v := map[string]any{"jobs": []any{map[string]any{"id": j.ID, "of": j.Of, "over": j.over(), "backups": list}}}
	return a.table(v, []string{"MACHINE", "STATE", "DONE", "READ", "STORED", "REASON"}, rows)
}

func (a *app) cancel(ctx context.Context, name string) error {
	js, cl, err := a.foldJobs(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	id, err := schemas.ParseUUID(name)
	if err != nil { // the beginning of one
		j, err := js.find(name)
		if err != nil {
			return err
		}
		id = j.ID
	}
	if j := js[id]; j != nil && j.over() {
		a.say("job %s is over already", id)
		return nil
	}
	if err := publish(ctx, cl, topics.BackupsRequested, eventSource(), uuid.NewString(), schemas.BackupCancel{Job: id}, id.String()); err != nil {
		return err
	}
	a.say("job %s will be cancelled", id)
	return nil
}
