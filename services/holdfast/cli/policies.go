package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/policy"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

func (a *app) policiesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "policies",
		Short:   "Which machines are backed up when, and how that goes",
		Example: "  holdfast policies\n  holdfast policies preview -f gold.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.listPolicies(c.Context()) },
	}
	var file, seen string
	apply := &cobra.Command{Use: "apply -f FILE", Short: "Check the policies of a file, and have them from now on", Args: cobra.NoArgs,
		Example: "  holdfast policies apply -f gold.yaml\n  cat *.yaml | holdfast policies apply -f -",
		RunE:    func(c *cobra.Command, _ []string) error { return a.applyPolicies(c.Context(), file) }}
	apply.Flags().StringVarP(&file, "file", "f", "", "YAML, a document for each policy; - is standard input")
	apply.MarkFlagRequired("file")
	preview := &cobra.Command{Use: "preview NAME|-f FILE", Short: "Which machines a policy means, and when it comes to each; nothing is done", Args: cobra.MaximumNArgs(1),
		Example: "  holdfast policies preview gold\n  holdfast policies preview -f gold.yaml -o json",
		RunE:    func(c *cobra.Command, names []string) error { return a.previewPolicies(c.Context(), names, seen) }}
	preview.Flags().StringVarP(&seen, "file", "f", "", "YAML, a document for each policy; - is standard input")
	c.AddCommand(
		&cobra.Command{Use: "list", Short: "All policies, and how they do", Args: cobra.NoArgs, Example: "  holdfast policies list\n  holdfast policies list -o json",
			RunE: func(c *cobra.Command, _ []string) error { return a.listPolicies(c.Context()) }},
		&cobra.Command{Use: "show NAME", Short: "A policy, and each of its machines", Args: cobra.ExactArgs(1), Example: "  holdfast policies show gold\n  holdfast policies show gold -o json",
			RunE: func(c *cobra.Command, args []string) error { return a.showPolicy(c.Context(), args[0]) }},
		apply, preview,
		&cobra.Command{Use: "drop NAME", Short: "End a policy: what waits of it is cancelled, what runs goes on", Args: cobra.ExactArgs(1), Example: "  holdfast policies drop gold\n  holdfast policies drop gold -o json",
			RunE: func(c *cobra.Command, args []string) error { return a.dropPolicy(c.Context(), args[0]) }},
	)
	return c
}

// openEstate reads the topics. The client is the caller's to close.
func (a *app) openEstate(ctx context.Context) (*estate, *client.Client, error) {
	cl, err := a.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	e, err := a.estate(ctx, cl)
	if err != nil {
		cl.Close()
		return nil, nil, err
	}
	return e, cl, nil
}

func (a *app) listPolicies(ctx context.Context) error {
	e, cl, err := a.openEstate(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	list := []*policyState{}
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(e.taken)) {
		st := e.taken[name]
		last := "-"
		if st.Last != nil {
			last = fmt.Sprintf("%s %s %s", st.Last.Status, st.Last.Machine.Path(), moment(st.Last.DoneAt))
		}
		rows = append(rows, []string{name, fmt.Sprint(len(st.Machines)), st.Every, moment(st.NextDue), last, fmt.Sprintf("%d/%d", st.Kept, len(st.Machines))})
		list = append(list, st)
	}
	return a.table(map[string]any{"policies": list}, []string{"NAME", "MACHINES", "EVERY", "NEXT DUE", "LAST", "KEPT"}, rows)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func (e *estate) named(name string) (*policyState, error) {
	if st := e.taken[name]; st != nil {
		return st, nil
	}
	why := fmt.Sprintf("no policy is called %q", name)
	if near := schemas.Nearest(name, slices.Sorted(maps.Keys(e.taken))); near != "" {
		why += fmt.Sprintf("; near: %q", near)
	}
	return nil, errors.New(why)
}

func (a *app) showPolicy(ctx context.Context, name string) error {
	e, cl, err := a.openEstate(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	st, err := e.named(name)
	if err != nil {
		return err
	}
	a.say("%s: every %s, declared by %s at %s", safe(name), st.Every, safe(st.DeclaredBy), moment(st.DeclaredAt))
	a.nobody(st)
	var rows [][]string
	for _, m := range st.Machines {
		kept := "missed"
		if m.Kept {
			kept = "kept"
		}
		rows = append(rows, []string{m.Machine.Path(), m.Machine.Name, moment(m.NextDue), moment(m.PointAt), kept})
	}
	return a.table(map[string]any{"policies": []any{st}}, []string{"MACHINE", "NAME", "NEXT DUE", "LAST POINT", ""}, rows)
}

// nobody tells of names that are no machine, one by one.
func (a *app) nobody(st *policyState) {
	for _, name := range st.Nobody {
		a.say("%s: %q is no machine that a source has now", safe(st.Policy.Name), name)
	}
}

// previewed is how many runs of each machine a preview shows.
const previewed = 3

func (a *app) previewPolicies(ctx context.Context, names []string, file string) error {
	if len(names) == 0 == (file == "") {
		return usage(errors.New("preview needs the name of a policy, or -f FILE"))
	}
	var all []*policy.Policy
	var err error
	if file != "" {
		if all, err = a.readPolicies(file); err != nil {
			return err
		}
	}
	e, cl, err := a.openEstate(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	if file == "" {
		st, err := e.named(names[0])
		if err != nil {
			return err
		}
		all = append(all, st.compiled)
	}
	list := []*policyState{}
	var rows [][]string
	for _, p := range all {
		st := e.state(p)
		a.nobody(st)
		for i, m := range st.Machines {
			st.Machines[i].Begins = e.runs(p, m, previewed)
			var begins []string
			for _, at := range st.Machines[i].Begins {
				begins = append(begins, moment(at))
			}
			rows = append(rows, []string{p.Name, m.Machine.Path(), m.Machine.Name, strings.Join(begins, " ")})
		}
		list = append(list, st)
	}
	return a.table(map[string]any{"policies": list}, []string{"POLICY", "MACHINE", "NAME", "BEGINS"}, rows)
}

func (a *app) applyPolicies(ctx context.Context, file string) error {
	all, err := a.readPolicies(file)
	if err != nil {
		return err
	}
	e, cl, err := a.openEstate(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	list := []any{}
	var rows [][]string
	for _, p := range all {
		st := e.state(p)
		a.nobody(st)
		if err := a.declare(ctx, cl, p.PolicyDeclared); err != nil {
			return err
		}
		rows = append(rows, []string{p.Name, fmt.Sprint(len(st.Machines)), st.Every})
		list = append(list, map[string]any{"name": p.Name, "machines": len(st.Machines), "every": st.Every, "nobody": st.Nobody})
	}
	return a.table(map[string]any{"applied": list}, []string{"NAME", "MACHINES", "EVERY"}, rows)
}

func (a *app) dropPolicy(ctx context.Context, name string) error {
	e, cl, err := a.openEstate(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := e.named(name); err != nil {
		return err
	}
	if err := a.declare(ctx, cl, schemas.PolicyDeclared{Name: name, Dropped: true}); err != nil {
		return err
	}
	if a.format == "json" {
		return a.printJSON(a.out, map[string]any{"dropped": []string{name}})
	}
	a.say("policy %s is dropped", safe(name))
	return nil
}

// takenWithin is how long a house may take to take a policy: it does so at once, or is off.
const takenWithin = 10 * time.Second

// declare publishes a policy, and waits until the house has taken it.
func (a *app) declare(ctx context.Context, cl *client.Client, d schemas.PolicyDeclared) error {
	id := uuid.NewString()
	if err := publish(ctx, cl, topics.PoliciesDeclared, eventSource(), id, d, d.Name); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, takenWithin)
	defer stop()
	for rec, err := range cl.Follow(ctx, topics.PoliciesTaken.Spec, time.Hour) {
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		if _, e, err := policy.Taken(rec.Key, rec.Headers, rec.Value); err == nil && e.ID == id {
			return nil
		}
	}
	return fmt.Errorf("policy %s is published, and was not taken within %s: does the scheduler run? Was it refused: holdfast refused list", d.Name, takenWithin)
}
