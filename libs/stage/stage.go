// Package stage is the shape of every service: events in, events out.
//
// A stage is declared once, as typed data (Define and its ports). The runner
// owns polling, rooms, order, retry, holds, commits, table recall, shutdown,
// metrics and traces. A room is one partition number of all topics that a stage
// shares with its group; it has one goroutine, so its state needs no lock.
//
// Delivery is at least once, and every handler must be the same twice: what is
// committed is done, and what is not comes again.
package stage

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/topics"
)

// Env is what the house lends to a stage.
type Env struct {
	Region string
	Worker string           // host/pid, for stamps and logs
	Now    func() time.Time // the only clock of a stage; nil: the real one
	Log    *slog.Logger     // nil: slog.Default()
	Kafka  []kgo.Opt        // how to reach the brokers, made by Connect
	Watch  Watch            // nil: nobody looks
	// Regions are those that the process serves, for stages that serve several; nil: its own.
	Regions *Regions
	Grace   time.Duration // how long leaving the group may take; 0: 15s

	counts map[string]int32 // partitions by physical topic
}

// Parts returns the partition count of a topic that the stage declares, read or
// written. It is known before open is called. To ask for another is a bug and panics.
func (e Env) Parts(s topics.Spec) int32 {
	n, ok := e.counts[s.In(e.Region)]
	if !ok {
		panic("stage: partitions of " + s.Name + ", which the stage does not declare")
	}
	return n
}

// Stage is a declared service. The catalogue lists them; Run runs them.
type Stage struct {
	Name    string
	Streams []topics.Spec // read in order, committed
	Tables  []topics.Spec // recalled by each room
	Wholes  []topics.Spec // read in full by each process, of its region or of all
	Writes  []topics.Spec

	open   func(Env) (func(*Room) (body, error), error)
	decode map[string]func(*kgo.Record) (any, error) // of whole tables
	broad  *broad                                    // nil: reads no table across regions
}

// Coordinates reports whether the stage serves all regions of its process by itself:
// it runs once, where another would run in each (see RunEach).
func (s Stage) Coordinates() bool { return s.broad != nil }

// Define declares a stage. open runs once per process and returns the maker of
// rooms, which runs in the room's goroutine for each number that we own, and
// again after each failure. A room that is an io.Closer is closed at its end;
// the next room of its number is made only after that.
func Define[R any](name string, open func(Env) (func(*Room) (R, error), error), ports ...Port[R]) Stage {
	s := Stage{Name: name, decode: map[string]func(*kgo.Record) (any, error){}}
	seen := map[string]bool{}
	for _, p := range ports {
		for _, t := range p.topics {
			switch p.kind {
			case stream:
				s.Streams = append(s.Streams, t)
			case table:
				s.Tables = append(s.Tables, t)
			case across:
				if s.broad != nil {
					panic(fmt.Sprintf("stage: %s reads two tables across regions", name))
				}
				s.broad = &broad{t, p.wait}
				fallthrough
			case whole:
				s.Wholes = append(s.Wholes, t)
				s.decode[t.Name] = p.decode
			}
			if p.kind == stream || p.kind == table {
				if seen[t.Name] {
					panic(fmt.Sprintf("stage: %s reads %s twice", name, t.Name))
				}
				seen[t.Name] = true
			}
			if p.writes {
				s.Writes = append(s.Writes, t)
			}
		}
	}
	s.open = func(env Env) (func(*Room) (body, error), error) {
		mk, err := open(env)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", name, err)
		}
		return func(m *Room) (body, error) {
			r, err := mk(m)
			if err != nil {
				return body{}, fmt.Errorf("room %s/%d: %w", name, m.Number, err)
			}
			return furnish(r, ports), nil
		}, nil
	}
	return s
}

// body is a room's handlers, bound to its state.
type body struct {
	inputs map[string]input           // of streams and tables, by the house's name
	shows  map[string]func(row)       // of whole tables
	across func(region string, w row) // of the table across regions
	turned func(Region)
	beats  []beat
	late   []late
	close  func() error
}

// input is what a room does with one topic: handle or batch, and begin too
// where the room remembers rows by itself.
type input struct {
	handle func(*In, *kgo.Record) error
	begin  func(Log) (int64, error)
	batch  func(*Block) error
	limits Limits
}

func furnish[R any](r R, ports []Port[R]) body {
	b := body{inputs: map[string]input{}, shows: map[string]func(row){}, close: func() error { return nil }}
	if c, ok := any(r).(io.Closer); ok {
		b.close = c.Close
	}
	for _, p := range ports {
		if p.bind != nil {
			p.bind(r, &b)
		}
	}
	if len(b.late) == 0 {
		b.late = []late{{holdMax, func(*Hold) {}}} // told, if nothing else
	}
	return b
}

type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

// Refuse marks an input that no retry will ever cure. It goes to
// <topic>.refused, and if it is of a Run, the auditor is told.
func Refuse(err error) error { return refused{err} }

// Refused reports whether err says so.
func Refused(err error) bool { _, ok := errors.AsType[refused](err); return ok }
