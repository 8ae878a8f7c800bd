package stage

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kslog"
)

// Kind says what a Note is about.
type Kind string

const (
	Done      Kind = "done"      // a handler returned nil
	Retry     Kind = "retry"     // it will be called again
	Refusal   Kind = "refused"   // the input went to <topic>.refused
	Panicked  Kind = "panic"     // a handler did, by a bug of ours; its room ends
	Oversized Kind = "oversized" // a record of ours was too large to be written
	Stopped   Kind = "stopped"   // a table's row ends the room, each time, until it is cured or dropped
	Failed    Kind = "failed"    // the room ended and will be built again
	Renewed   Kind = "renewed"   // the client is given up, and with it all rooms
	Lost      Kind = "lost"      // Count records left the log unread, or came back
	Passed    Kind = "passed"    // a row of a table across regions does not decode, and is not shown
	Late      Kind = "overdue"   // a hold is older than its port allows
	Recalled  Kind = "recalled"  // Count rows were read in Took
	Starting  Kind = "starting"  // the stage looks for its topics and its group
	Joined    Kind = "joined"    // we know which parts are ours, if any
	Assigned  Kind = "assigned"  // Part is ours
	Revoked   Kind = "revoked"   // Part is not ours any more
	Committed Kind = "committed" // Offset, or Err
	Trouble   Kind = "trouble"   // the bus says Err; it is being retried
	NoRoom    Kind = "no_room"   // what the stage writes to is full, says Err; it waits. Told, and logged, by the stage
	Standing  Kind = "standing"  // Count records of the topic wait to be read, Held are held
)

// Note is one thing that happened. Topic, Part and Offset say where.
type Note struct {
	Kind   Kind
	Region string // that the stage works for
	Stage  string
	Topic  string
	Part   int32
	Offset int64
	Count  int64
	Held   int
	Took   time.Duration
	Since  time.Time // of what is tried again: the first failure, and Count says how many
	Err    error
}

// Watch is told everything: metrics and traces hang here and nowhere else. It
// is called from many goroutines and must be quick. The context that Begin
// returns is the handler's, and its span goes with what the handler emits.
type Watch interface {
	Begin(context.Context, Note) context.Context
	End(context.Context, Note)
	Tell(Note)
}

type nobody struct{}

func (nobody) Begin(ctx context.Context, _ Note) context.Context { return ctx }
func (nobody) End(context.Context, Note)                         {}
func (nobody) Tell(Note)                                         {}

// hooked is a Watch that also looks into the client.
type hooked interface{ Hooks() []kgo.Hook }

// clientLog is what the client says of itself, from warnings up: below that it
// tells its whole life.
func clientLog(l *slog.Logger) kgo.Opt {
	return kgo.WithLogger(kslog.New(slog.New(warnings{l.Handler()})))
}

type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

// tell tells the watch, and the log what an operator must know.
func (r *runner) tell(n Note) {
	n.Region, n.Stage = r.env.Region, r.stage.Name
	r.env.Watch.Tell(n)
	r.log(n)
}

// told reports whether what ended a room was logged as what it is.
func told(err error) bool {
	_, bad := errors.AsType[*badRow](err)
	return bad || isBug(err)
}

func (r *runner) log(n Note) {
	level := slog.LevelDebug
	switch n.Kind {
	case Failed, Renewed, Lost, Panicked, Oversized, Stopped:
		level = slog.LevelError
		if n.Kind == Failed && told(n.Err) {
			return
		}
	case Trouble, Passed, Late, Refusal, Retry:
		level = slog.LevelWarn
	case Recalled:
		level = slog.LevelInfo
	case Standing:
		return
	case Committed:
		if n.Err == nil {
			return
		}
		level = slog.LevelWarn
	}
	if !r.env.Log.Enabled(context.Background(), level) {
		return
	}
	attrs := []slog.Attr{slog.String("stage", n.Stage), slog.Int("part", int(n.Part))}
	if n.Topic != "" {
		attrs = append(attrs, slog.String("topic", n.Topic), slog.Int64("offset", n.Offset))
	}
	if n.Count != 0 {
		attrs = append(attrs, slog.Int64("count", n.Count))
	}
	if !n.Since.IsZero() {
		attrs = append(attrs, slog.Time("since", n.Since))
	}
	if n.Err != nil {
		attrs = append(attrs, slog.Any("err", n.Err))
	}
	if b, ok := errors.AsType[*bug](n.Err); ok && n.Kind == Panicked {
		attrs = append(attrs, slog.String("stack", b.stack))
	}
	r.env.Log.LogAttrs(context.Background(), level, string(n.Kind), attrs...)
}
