package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/topics"
)

// The bench of the runner proves in virtual time that nothing is committed before it is
// done. Here the same is wanted of real brokers, while they fall: a clerk holds each
// question for a while, and what is committed must have its answer in the log.
var (
	asked    = topics.Topic[*wrapperspb.StringValue]{Spec: topics.Spec{Name: "asked"}}
	answered = topics.Topic[*wrapperspb.StringValue]{Spec: topics.Spec{Name: "answered"}}
)

const answerEvery = 300 * time.Millisecond

type question struct {
	text string
	hold *stage.Hold
}

type clerk struct{ held []question }

var clerks = stage.Define("clerk", func(stage.Env) (func(*stage.Room) (*clerk, error), error) {
	return func(*stage.Room) (*clerk, error) { return &clerk{}, nil }, nil
},
	stage.On(asked, func(c *clerk, in *stage.In, v *wrapperspb.StringValue) error {
		c.held = append(c.held, question{v.Value, in.Hold()})
		return nil
	}),
	stage.Every(answerEvery, func(c *clerk, _ *stage.In) error {
		for _, q := range c.held {
			q.hold.Release(answered.Event([]byte(q.text), wrapperspb.String(q.text)))
		}
		c.held = nil
		return nil
	}),
	stage.Emits[*clerk](answered.Spec),
)

// office is clerks at work, and who asks them.
type office struct {
	r            *region
	cl           *client.Client
	stop, enough context.CancelFunc
	work         sync.WaitGroup

	mu     sync.Mutex
	at     map[string]topics.Position // of each question
	checks int
}

func (r *region) office() *office {
	r.Helper()
	names := []string{topics.BackupsFaulted.In("office")}
	for _, s := range []topics.Spec{asked.Spec, asked.Refused(), answered.Spec} {
		names = append(names, s.In("office"))
	}
	two := "2"
	made, err := r.brokers.Admin().CreateTopics(r.Context(), 6, 3, map[string]*string{"min.insync.replicas": &two}, names...)
	r.must(err)
	r.must(made.Error())
	ctx, stop := context.WithCancel(context.Background())
	o := &office{r: r, stop: stop, at: map[string]topics.Position{}}
	o.cl, err = client.Open("office", stage.Connect(r.brokers.Seeds()...)...)
	r.must(err)
	o.work.Go(func() { o.member(ctx) })
	o.work.Go(func() { o.member(ctx) })
	o.work.Go(func() { // a third comes and goes
		for ctx.Err() == nil {
			short, leave := context.WithTimeout(ctx, 3*time.Second)
			o.member(short)
			leave()
			nap(ctx, 2*time.Second)
		}
	})
	asking, enough := context.WithCancel(ctx)
	o.enough = enough
	o.work.Go(func() { o.ask(asking) })
	o.work.Go(func() {
		for nap(ctx, time.Second) {
			o.check()
		}
	})
	r.Cleanup(func() { stop(); o.work.Wait(); o.cl.Close() })
	return o
}

func (o *office) member(ctx context.Context) {
	env := stage.Env{Region: "office", Worker: "w", Kafka: stage.Connect(o.r.brokers.Seeds()...), Log: slog.New(slog.DiscardHandler)}
	if err := stage.Run(ctx, clerks, env); err != nil {
		o.r.Errorf("clerk: %v", err)
	}
}

func (o *office) ask(ctx context.Context) {
	for i := 0; nap(ctx, 20*time.Millisecond); i++ {
		text := fmt.Sprint("question ", i)
		at, err := o.cl.PublishAt(ctx, asked.Event([]byte(text), wrapperspb.String(text)))
		if err != nil {
			continue // perhaps it is there; then it is answered too, and nobody looks
		}
		o.mu.Lock()
		o.at[text] = at
		o.mu.Unlock()
	}
}

// check wants an answer to each question below what is committed. It says how many
// questions are above.
func (o *office) check() (open int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	committed, err := o.r.brokers.Admin().FetchOffsets(ctx, "office.clerk")
	if err != nil {
		return 0, err // the brokers are down
	}
	has := map[string]bool{}
	for rec, err := range o.cl.Read(ctx, answered.Spec, 0) {
		if err != nil {
			return 0, err
		}
		has[string(rec.Key)] = true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for text, at := range o.at {
		c, ok := committed.Lookup(asked.In("office"), at.Part)
		switch done := ok && at.Offset < c.At; {
		case !done:
			open++
		case !has[text]:
			o.r.Errorf("%s at %v is committed (%d) and has no answer", text, at, c.At)
		}
	}
	o.checks++
	return open, nil
}

// end wants every question to be answered and committed.
func (o *office) end() {
	o.r.Helper()
	o.enough()
	o.r.until("every question to be answered", func() string {
		if open, err := o.check(); err != nil || open > 0 {
			return fmt.Sprintf("%d are open, %v", open, err)
		}
		return ""
	})
	o.stop()
	o.work.Wait()
	o.r.Logf("runner: %d questions, each answered; looked %d times, and nothing was committed before its answer", len(o.at), o.checks)
}
