package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

func (a *app) backupCommand() *cobra.Command {
	var (
		match, exclude []string
		where          schemas.Selector
		from, quiesce  string
		region         string
		full, wait     bool
		priority       int32
		key            string
	)
	c := &cobra.Command{
		Use:   "backup MACHINE... [--match GLOB] [--folder GLOB] [--tag GLOB] [--from FILE] [--wait]",
		Short: "Back up these machines now",
		Example: "  holdfast backup web-01 --wait\n" +
			"  holdfast backup --match 'web-*' --quiesce require\n" +
			"  holdfast backup --from machines.txt --region eu-1\n" +
			"  holdfast backup --folder /DC1/vm/prod --tag 'backup/daily'\n" +
			"  holdfast backup --from machines.txt --key before-upgrade-42",
		RunE: func(c *cobra.Command, names []string) error {
			req := schemas.BackupRequested{Machines: names, Region: region, ExcludedDisks: exclude, Quiesce: quiesce, Priority: priority}
			if full {
				req.Mode = "full"
			}
			req.Selectors = selectors(match, where)
			if from != "" {
				list, err := readList(from)
				if err != nil {
					return err
				}
				req.Machines = append(req.Machines, list...)
			}
			var others map[string]int
			if req.Region != "" && len(req.Machines) > 0 {
				own, left, err := a.own(c.Context(), req.Region, req.Machines)
				if err != nil {
					return err
				}
				req.Machines, others = own, left
			}
			if len(req.Machines)+len(req.Selectors) == 0 {
				return usage(errors.New("backup needs a machine, --match, --folder, --tag, --cluster, --host, --source or --from"))
			}
			return a.backup(c.Context(), req, key, others, wait)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&match, "match", nil, "all machines whose name matches this glob; may be repeated")
	whereFlags(c, &where)
	f.StringVar(&from, "from", "", "a file with a machine a line; # begins a comment")
	f.StringVar(&region, "region", "", "only machines of this region: others that are named are left out, and counted")
	f.BoolVar(&wait, "wait", false, "show progress until the end; the exit code tells how it went")
	f.BoolVar(&full, "full", false, "read everything")
	f.StringVar(&quiesce, "quiesce", "", "try (default), require or off")
	f.Int32Var(&priority, "priority", 0, "higher goes first")
	f.StringVar(&key, "key", "", "an id of your own: sent again, from wherever, it is the same job, and nothing is backed up twice")
	f.StringArrayVar(&exclude, "exclude-disk", nil, "name or glob of disks to leave out")
	return c
}

// whereFlags say where machines must be, and how they are tagged.
func whereFlags(c *cobra.Command, s *schemas.Selector) {
	f := c.Flags()
	f.StringVar(&s.Folder, "folder", "", "only machines in folders that match this glob, or below: /DC1/vm/prod, '*/prod'")
	f.StringVar(&s.Tag, "tag", "", "only machines with a tag, as category/name, that matches this glob")
	f.StringVar(&s.Cluster, "cluster", "", "only machines of clusters that match this glob")
	f.StringVar(&s.Host, "host", "", "only machines on hosts that match this glob")
	f.StringVar(&s.Source, "source", "", "only machines of this source")
}

// selectors is one for each name, and-ed with the rest; or the rest alone.
func selectors(names []string, where schemas.Selector) (all []schemas.Selector) {
	for _, name := range names {
		s := where
		s.Name = name
		all = append(all, s)
	}
	if len(names) == 0 && where != (schemas.Selector{}) {
		all = append(all, where)
	}
	return all
}

func (a *app) backup(ctx context.Context, req schemas.BackupRequested, key string, others map[string]int, wait bool) error {
	cl, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	source, id := sender(key)
	job := schemas.JobID(source, id)
	if err := publish(ctx, cl, topics.BackupsRequested, source, id, req, job.String()); err != nil {
		return err
	}
	if !wait {
		if a.format == "json" {
			one := map[string]any{"id": job}
			if req.Region != "" {
				one["region"], one["others"] = req.Region, others
			}
			return a.printJSON(a.out, map[string]any{"jobs": []any{one}})
		}
		_, err := fmt.Fprintln(a.out, job)
		return err
	}
	a.say("job %s", job)
	j, err := a.follow(ctx, cl, job)
	if errors.Is(err, context.Canceled) {
		a.say("job %s goes on; holdfast jobs cancel %.8s", job, job)
		return quiet(exitStopped)
	}
	if err != nil {
		return err
	}
	return a.result(j)
}

func publish(ctx context.Context, cl *client.Client, t topics.Raw, source, id string, data schemas.Public, key string) error {
	e, err := event(source, id, data, key)
	if err != nil {
		return err
	}
	headers, value, err := schemas.EncodeEvent(e)
	if err != nil {
		return err
	}
	return cl.Publish(ctx, t.Event([]byte(key), value, headers))
}

// result prints how each backup of a job ended.
func (a *app) result(j *job) error {
	var rows [][]string
	for _, e := range j.ends() {
		rows = append(rows, []string{e.Machine.Path(), e.Status, a.bytesOf(e.Bytes.Size), a.bytesOf(e.Bytes.Read), a.bytesOf(e.Bytes.Stored),
			fmt.Sprintf("%.1fs", e.WindowSeconds), firstOf(e.Point, e.Reason)})
	}
	v := map[string]any{"result": map[string]any{"job": j.ID, "backups": j.ends()}}
	if err := a.table(v, []string{"MACHINE", "STATUS", "SIZE", "READ", "STORED", "TOOK", "POINT OR REASON"}, rows); err != nil {
		return err
	}
	for _, e := range j.ends() {
		for _, w := range e.Warnings {
			a.say("warning: %s: %s", safe(e.Machine.Path()), safe(w))
		}
	}
	if code := j.code(); code != 0 {
		return quiet(code)
	}
	return nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
