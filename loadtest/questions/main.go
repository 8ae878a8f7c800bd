// Command questions fills a ledger with what a fleet of machines leaves in it, asks
// every question of `holdfast ledger`, and ends with 1 where one takes longer than
// the bound.
//
//	questions -rows 100000000 -data DIR [-keep] [-json FILE]
//
// The engine is the house's own, with its one-machine settings, on an emptied folder;
// rows go in as the recorder's do, through libs/ledger. Each question is asked of
// another machine, backup, chunk each time: with files out of the page cache, then
// warm, then while rows come in. A fleet that was kept is asked again without a fill.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

type settings struct {
	rows, machines, days, history, copies int
	times, cold, rate                     int
	bound, most                           time.Duration
	data, json                            string
	keep                                  bool
}

func main() {
	var s settings
	flag.IntVar(&s.rows, "rows", 1_000_000, "places to fill in")
	flag.IntVar(&s.machines, "machines", 1200, "machines")
	flag.IntVar(&s.days, "days", 6, "days whose places are there; the ledger keeps 7, and copies want one more")
	flag.IntVar(&s.history, "history", 60, "days whose backups are there")
	flag.IntVar(&s.copies, "copies", 1, "backups a day; all but one are copies that the engine makes")
	flag.IntVar(&s.times, "times", 20, "asks of each question, warm and during inserts; 0: only fill")
	flag.IntVar(&s.cold, "cold", 3, "asks of each question with a cold page cache")
	flag.IntVar(&s.rate, "rate", 50_000, "places a second that come in while questions are asked; 0: none")
	flag.DurationVar(&s.bound, "bound", 200*time.Millisecond, "most that the median ask may take")
	flag.DurationVar(&s.most, "most", time.Hour, "end the fill when it took so long; -keep goes on with it")
	flag.StringVar(&s.data, "data", "", "folder of the engine, emptied unless it has a kept fleet; about 50 bytes a row")
	flag.StringVar(&s.json, "json", "", "write the figures there, too")
	flag.BoolVar(&s.keep, "keep", false, "keep what was filled in, for the next run")
	flag.Parse()
	if s.data == "" || s.rows < 1 || s.machines < 1 || s.days < 1 || s.history < 1 || s.copies < 1 || s.times < 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := s.run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "questions:", err)
		os.Exit(1)
	}
	slow := r.slow()
	for _, text := range slow {
		fmt.Fprintln(os.Stderr, "questions: too slow:", text)
	}
	if len(slow) > 0 {
		os.Exit(1)
	}
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

func (s *settings) run(ctx context.Context) (r *report, err error) {
	k, err := s.stock()
	if err != nil {
		return nil, err
	}
	e, err := start(ctx, filepath.Join(s.data, "engine"))
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, e.stop())
		if !s.keep {
			err = errors.Join(err, os.RemoveAll(s.data))
		}
	}()
	if err := e.write.Migrate(ctx); err != nil {
		return nil, err
	}
	if err := s.fill(ctx, e, k); err != nil {
		return nil, err
	}
	r = &report{Bound: float64(s.bound.Milliseconds()), Fleet: k.Fleet, Fill: &k.Fill}
	if s.times == 0 {
		return r, nil
	}
	if err := s.measure(ctx, e, &k.Fleet, r); err != nil {
		return nil, err
	}
	if s.json != "" {
		if err := r.save(s.json); err != nil {
			return nil, err
		}
	}
	return r, r.print(os.Stdout)
}

// stock is what a folder has: a fleet, and how far it is filled in.
type stock struct {
	Fleet  fleet   `json:"fleet"`
	Fill   filling `json:"fill"`
	Copied int     `json:"copied"`
}

// stock is the one that was kept, or that of a new fleet on an empty folder.
func (s *settings) stock() (k *stock, err error) {
	k = &stock{}
	if b, err := os.ReadFile(s.stockFile()); err == nil {
		return k, json.Unmarshal(b, k)
	}
	k.Fleet = fleet{Seed: 1, Machines: s.machines, Days: s.days, History: max(s.history, s.days), Copies: s.copies, Now: time.Now().UTC()}
	k.Fleet.Rows = k.Fleet.rowsFor(s.rows)
	if err := os.RemoveAll(s.data); err != nil {
		return nil, err
	}
	return k, os.MkdirAll(s.data, 0o755)
}

func (s *settings) stockFile() string { return filepath.Join(s.data, "fleet.json") }

// fill goes on where it was, and ends between two steps when there is no time left.
func (s *settings) fill(ctx context.Context, e *engine, k *stock) error {
	for began := time.Now(); k.Copied < k.Fleet.Copies; k.Copied++ {
		if time.Since(began) > s.most {
			return fmt.Errorf("%d of %d copies are made: the time is over, go on with -keep", k.Copied, k.Fleet.Copies)
		}
		before, _ := e.spent()
		step := time.Now()
		var err error
		if k.Copied == 0 {
			err = k.Fleet.fill(ctx, again(e.write.Insert), say)
		} else {
			err = k.Fleet.multiply(ctx, e, k.Copied)
		}
		if err != nil {
			return err
		}
		after, _ := e.spent()
		k.Fill.Seconds += time.Since(step).Seconds()
		k.Fill.CPU += after - before
		if err := s.save(ctx, e, k); err != nil {
			return err
		}
		say("%d of %d copies, %d places", k.Copied+1, k.Fleet.Copies, k.Fill.Places)
	}
	before, _ := e.spent()
	if err := k.Fleet.forget(ctx, e); err != nil {
		return err
	}
	if err := e.settle(ctx); err != nil {
		return err
	}
	after, _ := e.spent()
	k.Fill.CPU += after - before
	return s.save(ctx, e, k)
}

func (s *settings) save(ctx context.Context, e *engine, k *stock) error {
	a, err := e.read.Query(ctx, "SELECT count() FROM ledger.chunk_log")
	if err != nil {
		return err
	}
	k.Fill.Places = a.Rows[0][0].(uint64)
	done := *k
	done.Copied = min(k.Copied+1, k.Fleet.Copies)
	b, err := json.Marshal(done)
	if err != nil {
		return err
	}
	return os.WriteFile(s.stockFile(), b, 0o644)
}

func (s *settings) measure(ctx context.Context, e *engine, f *fleet, r *report) (err error) {
	if s.cold > 0 {
		say("cold")
		if err := e.restart(ctx); err != nil {
			return err
		}
		if r.Cold, err = ask(ctx, e.read, f.askings(), s.cold, e.chill); err != nil {
			return err
		}
	}
	say("warm")
	if _, err := ask(ctx, e.read, f.askings(), 1, nil); err != nil {
		return err
	}
	if r.Warm, err = ask(ctx, e.read, f.askings(), s.times, nil); err != nil {
		return err
	}
	a, err := e.read.Ask(ctx, "tables")
	if err != nil {
		return err
	}
	r.Tables = rowsOf(a)
	if s.rate > 0 {
		say("while rows come in")
		var fl *flood
		if r.During, fl, r.Rate, err = e.during(ctx, f, s.rate, s.times); err != nil {
			return err
		}
		r.Behind = fl.behind.Seconds()
	}
	_, r.Peak = e.spent()
	return nil
}
