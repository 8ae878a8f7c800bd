package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

// world is the house under test and all around it.
type world struct {
	options
	tally   *tally
	process *process
	book    *book
	vc      *hypervisor // nil: none
	images  []*machine
	guests  []*machine    // of the vCenter
	resting chan struct{} // closed: nothing new is asked for
	idle    chan struct{} // closed: what was asked for has ended
	closed  sync.Once

	mu    sync.Mutex
	stirs map[string]int
	upTo  map[schemas.UUID]int // by backup: the newest version its point may have
}

func newWorld(o options) (*world, error) {
	w := &world{options: o, book: newBook(), resting: make(chan struct{}), idle: make(chan struct{}), stirs: map[string]int{}, upTo: map[schemas.UUID]int{}}
	w.tally = &tally{say: w.say, began: time.Now(), Seed: o.seed, Moments: map[string]int{}, Backups: map[string]int{}, Faults: map[fault]int{}}
	data, machines := filepath.Join(o.work, "data"), filepath.Join(o.work, "machines")
	if _, err := os.Stat(data); err == nil {
		return nil, fmt.Errorf("%s is there already: choose another -work", data)
	}
	if err := w.make(machines); err != nil {
		w.close()
		return nil, err
	}
	var args []string
	if o.blind {
		args = append(args, "--no-ledger")
	}
	w.process = newProcess(o.binary, data, filepath.Join(o.work, "up.log"), args...)
	return w, w.configure(data, machines)
}

// Staging is small, so that windows fill and drain many times in each backup.
const (
	shareText  = "size: 2GiB, window: 512MiB"
	shareSmall = "size: 160MiB, window: 32MiB"
)

func (w *world) configure(data, machines string) error {
	o := up.Options{Data: data, Images: []string{machines}}
	if w.vc != nil {
		password := filepath.Join(w.work, "password")
		if err := os.WriteFile(password, []byte(w.vc.vc.Password+"\n"), 0o600); err != nil {
			return err
		}
		o.VCenter = up.VCenter{URL: w.vc.vc.URL(), User: w.vc.vc.User, PasswordFile: password, Thumbprint: w.vc.vc.Thumbprint()}
	}
	if _, err := up.Configure(o); err != nil {
		return err
	}
	path := filepath.Join(data, "holdfast.yaml")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !strings.Contains(string(b), shareText) {
		return fmt.Errorf("%s does not say %q", path, shareText)
	}
	return os.WriteFile(path, []byte(strings.Replace(string(b), shareText, shareSmall, 1)), 0o600)
}

const (
	imageMachines = 4
	guestMachines = 4
)

func (w *world) make(dir string) (err error) {
	rng := rand.New(rand.NewPCG(w.seed, 1))
	size := int64(w.mib) << 20
	for i := range imageMachines {
		disks := 1 + i%2
		m, err := image(dir, fmt.Sprintf("img-%d", i), rng.Uint64(), disks, size/int64(disks))
		if err != nil {
			return err
		}
		w.images = append(w.images, m)
	}
	if !w.vcenter {
		return nil
	}
	if w.vc, err = openHypervisor(filepath.Join(w.work, "vcenter")); err != nil {
		return err
	}
	for i := range guestMachines {
		disks := 2 - i%2
		m, err := w.vc.add(fmt.Sprintf("vm-%d", i), rng.Uint64(), disks, size/int64(disks))
		if err != nil {
			return err
		}
		w.guests = append(w.guests, m)
	}
	return nil
}

func (w *world) say(format string, a ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().UTC().Format("15:04:05"), fmt.Sprintf(format, a...))
}

// note goes to a file: what may happen under a kill, and is no fault.
func (w *world) note(format string, a ...any) {
	f, err := os.OpenFile(filepath.Join(w.work, "notes.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%s  %s\n", time.Now().UTC().Format(time.RFC3339Nano), fmt.Sprintf(format, a...))
}

// close ends all that lives, and may be called again.
func (w *world) close() {
	w.closed.Do(func() {
		if w.process != nil {
			w.process.end()
		}
		if w.vc != nil {
			if err := w.vc.vc.Close(); err != nil {
				w.say("stop the vCenter: %v", err)
			}
		}
	})
}

func (w *world) working() bool {
	select {
	case <-w.resting:
		return false
	default:
		return true
	}
}

// soak lets everyone do his work while the house is killed, and then looks.
func (w *world) soak(ctx context.Context) error {
	defer func() { w.tally.Seconds = time.Since(w.tally.began).Seconds() }()
	g, life := errgroup.WithContext(ctx)
	var workers sync.WaitGroup
	work := func(f func(context.Context) error) {
		workers.Add(1)
		g.Go(func() error { defer workers.Done(); return f(life) })
	}
	for i, all := range [][]*machine{w.images[:2], w.images[2:3], w.images[3:], w.guests[:min(2, len(w.guests))], w.guests[min(2, len(w.guests)):]} {
		if len(all) > 0 {
			o := &owner{w, rand.New(rand.NewPCG(w.seed, uint64(10+i))), all}
			work(o.work)
		}
	}
	work((&restoring{w, rand.New(rand.NewPCG(w.seed, 2))}).work)
	go func() { workers.Wait(); close(w.idle) }()
	writing, still := context.WithCancel(life)
	defer still()
	for i, m := range w.guests {
		g.Go(func() error { return m.write(writing, rand.New(rand.NewPCG(w.seed, uint64(100+i)))) })
	}
	killer := &killer{w, rand.New(rand.NewPCG(w.seed, 3))}
	g.Go(func() error {
		l, err := killer.work(life)
		if err != nil {
			return err
		}
		w.say("%d kills are done; what was asked for is waited for", w.tally.Kills)
		close(w.resting)
		err = w.rest(life, l)
		still()
		if err != nil {
			return err
		}
		return w.judge(life, l)
	})
	err := g.Wait()
	if errors.Is(err, errStuck) { // the owners wait for what will not come
		err = nil
	}
	return err
}

// heard is called with each end as it is first heard.
func (w *world) heard(c schemas.BackupCompleted) {
	w.stir("told")
	m := w.named(c.Machine)
	if m == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, again := w.upTo[c.Backup]; !again {
		w.upTo[c.Backup] = m.newest()
	}
}

func (w *world) named(ref schemas.MachineRef) *machine {
	for _, m := range slices.Concat(w.images, w.guests) {
		if m.source == ref.Source && m.id == ref.ID {
			return m
		}
	}
	return nil
}

// bound is which version the point of a backup must have; false: it is none of ours.
func (w *world) bound(c schemas.BackupCompleted) (b bound, ok bool) {
	w.book.mu.Lock()
	j := w.book.jobs[c.Job.ID]
	w.book.mu.Unlock()
	if b.m = w.named(c.Machine); b.m == nil || j == nil {
		return b, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	b.lo, b.hi = j.from[b.m.name], w.upTo[c.Backup]
	return b, true
}
