package main

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/images"
	"github.com/holdfast-backup/holdfast/libs/vault"
)

// backup stores all machines of a folder, a worker a core, and returns when packs and
// points are durable.
func (s *straight) backup(ctx context.Context, folder string) (f figure, err error) {
	src, err := images.Open(folder, images.Options{})
	if err != nil {
		return f, err
	}
	all, err := src.List(ctx)
	if err != nil {
		return f, err
	}
	s.points = map[string]*vault.Point{}
	before := s.stored
	machines := map[string][]*disk{}
	g, inner := errgroup.WithContext(ctx)
	tasks := make(chan task, 2*runtime.GOMAXPROCS(0))
	g.Go(func() error {
		defer close(tasks)
		for _, m := range all.Machines {
			disks, err := plan(inner, src, m.ID, tasks)
			if err != nil {
				return fmt.Errorf("machine %s: %w", m.ID, err)
			}
			machines[m.ID] = disks
		}
		return nil
	})
	workers := make([]*worker, runtime.GOMAXPROCS(0))
	for i := range workers {
		if workers[i], err = s.worker(); err != nil {
			return f, err
		}
		g.Go(func() error { return workers[i].all(inner, tasks) })
	}
	if err := g.Wait(); err != nil {
		return f, err
	}
	if err := s.settled(); err != nil {
		return f, err
	}
	for id, disks := range machines {
		if err := s.point(ctx, id, disks); err != nil {
			return f, fmt.Errorf("machine %s: %w", id, err)
		}
	}
	for _, w := range workers {
		f.Read, f.Fresh = f.Read+w.read, f.Fresh+w.new
	}
	f.Stored = s.stored - before
	return f, s.settled()
}

// plan hands out what a machine's files hold, a page or less at a time.
func plan(ctx context.Context, src *images.Source, machine string, tasks chan<- task) (disks []*disk, err error) {
	snap, err := src.Prepare(ctx, source.Order{Machine: machine, Name: "straight"})
	if err != nil {
		return nil, err
	}
	const pageBytes = grid * cut.PagePlaces
	for _, file := range snap.Files() {
		d := &disk{snap: snap, file: file, chunk: make([][]*vault.PagePlace, vault.Pages(uint64(file.Size), grid))}
		disks = append(disks, d)
		end := int64(0) // of what was handed out
		for r, err := range snap.Changed(ctx, file, "") {
			if err != nil {
				return nil, err
			}
			from, to := max(end, r.Off/grid*grid), min(file.Size, (r.Off+r.Len+grid-1)/grid*grid)
			for from < to {
				n := min(to, (from/pageBytes+1)*pageBytes) - from
				if page := &d.chunk[from/pageBytes]; *page == nil {
					*page = make([]*vault.PagePlace, cut.PagePlaces)
				}
				select {
				case tasks <- task{d, from, n}:
				case <-ctx.Done():
					return nil, context.Cause(ctx)
				}
				from += n
			}
			end = max(end, to)
		}
	}
	return disks, nil
}
