package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// point files the pages of a machine and writes its recovery point.
func (s *straight) point(ctx context.Context, machine string, disks []*disk) error {
	run := &schemas.Run{Backup: make([]byte, 16), Attempt: 1, Lease: make([]byte, 16), Epoch: epoch}
	rand.Read(run.Backup)
	rand.Read(run.Lease)
	p := &vault.Point{Run: run, Machine: &schemas.Machine{Source: "straight", Id: machine, Name: machine}, Totals: &schemas.Totals{}}
	points := vault.NewPointBuilder(p)
	for no, d := range disks {
		runs, err := s.pages(ctx, d)
		if err != nil {
			return fmt.Errorf("file %s: %w", d.file.Key, err)
		}
		f := &schemas.PointFile{No: uint32(no), Key: d.file.Key, Name: d.file.Name, Kind: d.file.Kind, SizeBytes: uint64(d.file.Size), GridBytes: grid}
		err = points.File(f, func(yield func(vault.PageRun) bool) {
			for _, r := range runs {
				if !yield(r) {
					return
				}
			}
		})
		if err != nil {
			return err
		}
	}
	body, err := vault.EncodePoint(s.ring.Map, p)
	if err != nil {
		return err
	}
	path, err := vault.PathOf(s.ring.Map, p)
	if err != nil {
		return err
	}
	s.points[machine] = p
	return s.writer.Small(ctx, path, body)
}

// pages puts the pages of a file into map packs.
func (s *straight) pages(ctx context.Context, d *disk) (runs []vault.PageRun, err error) {
	var b *vault.MapBuilder
	first := 0 // of the runs that wait for their map pack's name
	flush := func() error {
		if b == nil {
			return nil
		}
		id, data, err := b.Close(epoch)
		if err != nil {
			return err
		}
		for i := range runs[first:] {
			if r := &runs[first+i]; r.Count > 0 && d.chunk[r.First] != nil {
				r.Map = id
			}
		}
		first, b = len(runs), nil
		s.sent.Go(func() {
			_, err := s.writer.Pack(ctx, id, true, data)
			s.done(len(data), err)
		})
		return nil
	}
	for no, chunks := range d.chunk {
		r := vault.PageRun{First: uint32(no), Count: 1}
		if chunks != nil {
			if b != nil && !b.Fits() {
				if err := flush(); err != nil {
					return nil, err
				}
			}
			if b == nil {
				if b, err = vault.NewMapBuilder(s.ring.Map, vault.MapBuilderOptions{}); err != nil {
					return nil, err
				}
			}
			if r.Slot, err = b.Add(d.page(no, chunks)); err != nil {
				return nil, err
			}
		}
		runs = append(runs, r)
	}
	return runs, flush()
}

func (d *disk) page(no int, chunks []*vault.PagePlace) vault.Page {
	p := vault.Page{No: uint32(no), Start: uint64(no) * cut.PagePlaces * grid}
	places := min(cut.PagePlaces, (d.file.Size-int64(p.Start)+grid-1)/grid)
	for _, c := range chunks[:places] {
		if c == nil {
			c = &vault.PagePlace{Kind: vault.PlaceZero}
		}
		p.Places = append(p.Places, *c)
	}
	return p
}

// check restores each machine of the folder that was backed up last, and compares.
func (s *straight) check(ctx context.Context, folder string) error {
	r, err := s.vault.Reader(s.ring)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "straight-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for machine, p := range s.points {
		for _, f := range p.Files {
			path := filepath.Join(dir, "file")
			if err := r.RestoreFile(ctx, p, f, path, true, nil); err != nil {
				return fmt.Errorf("machine %s: %w", machine, err)
			}
			if err := equal(path, filepath.Join(folder, machine, f.Name)); err != nil {
				return fmt.Errorf("machine %s: %w", machine, err)
			}
		}
	}
	return nil
}

// equal compares two files.
func equal(a, b string) error {
	x, err := os.Open(a)
	if err != nil {
		return err
	}
	defer x.Close()
	y, err := os.Open(b)
	if err != nil {
		return err
	}
	defer y.Close()
	p, q := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := 0; ; {
		n, err := io.ReadFull(x, p)
		m, err2 := io.ReadFull(y, q)
		if !bytes.Equal(p[:n], q[:m]) {
			return fmt.Errorf("%s differs behind byte %d", b, at)
		}
		if at += n; err != nil || err2 != nil {
			return nil
		}
	}
}
