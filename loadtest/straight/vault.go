package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/holdfast-backup/holdfast/libs/blob/file"
	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/libs/vault"
)

const (
	k, m   = 4, 2 // as the one-machine mode's
	region = "straight"
	epoch  = 1
	// packsAtOnce are filled or on their way to the targets, 17 MiB each: as many as
	// the uploader has under way.
	packsAtOnce = 8
)

// straight is a vault that is being written, and all that is known of it.
type straight struct {
	vault  *vault.Vault
	ring   *vault.Ring
	writer *vault.Writer
	codec  seal.Method
	bufs   chan []byte     // memory of packs
	life   context.Context // of packs on their way
	sent   sync.WaitGroup

	mu     sync.Mutex
	known  map[cut.ID]*vault.PagePlace // filled in when its pack is closed
	points map[string]*vault.Point     // by machine, of the last folder
	stored int64
	err    error // the first of a pack on its way
}

func open(ctx context.Context, dir string, codec seal.Method) (*straight, error) {
	var targets []vault.Target
	for i := range k + m {
		name := fmt.Sprintf("t%d", i+1)
		store, err := file.Open(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		targets = append(targets, vault.Target{Name: name, Store: store})
	}
	s := &straight{life: ctx, codec: codec, bufs: make(chan []byte, 2*packsAtOnce), known: map[cut.ID]*vault.PagePlace{}}
	for range packsAtOnce {
		s.bufs <- nil
	}
	var err error
	if s.ring, err = vault.NewRing(); err != nil {
		return nil, err
	}
	if err := vault.Init(ctx, targets, vault.Settings{Name: "straight", Region: region, GridBytes: grid, Compression: string(codec), K: k, M: m}, nil); err != nil {
		return nil, err
	}
	if s.vault, err = vault.Open(ctx, targets); err != nil {
		return nil, err
	}
	s.writer, err = vault.NewWriter(s.vault, vault.WriterOptions{Region: region})
	return s, err
}

// claim returns what is known of a chunk, and whether the caller is to store it.
func (s *straight) claim(id cut.ID) (p *vault.PagePlace, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.known[id]
	if !ok {
		p = &vault.PagePlace{Kind: vault.PlaceChunk, ID: id}
		s.known[id] = p
	}
	return p, !ok
}

// ship closes a pack and sends it off; what it holds gets its place.
func (s *straight) ship(b *vault.Builder, places []*vault.PagePlace) error {
	id, data, entries, err := b.Close(epoch)
	if err != nil {
		return err
	}
	for i, e := range entries {
		places[i].Pack, places[i].Offset, places[i].Framed = id, e.Offset, e.Framed
	}
	s.sent.Go(func() {
		landed, err := s.writer.PackLent(s.life, id, false, data, nil, func() { s.bufs <- data })
		if err == nil {
			<-landed.Done()
		} else {
			s.bufs <- nil // nobody gives it back
		}
		s.done(len(data), err)
	})
	return nil
}

func (s *straight) done(bytes int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored += int64(bytes)
	if s.err == nil {
		s.err = err
	}
}

// settled waits for all packs that were shipped.
func (s *straight) settled() error {
	s.sent.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
