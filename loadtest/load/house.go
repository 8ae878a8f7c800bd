package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

// standing is how long a start may take before it is called stuck: the engine may
// take a minute, and this computer may have other work.
const standing = 3 * time.Minute

// living is the house: one process, or many, and how to reach it.
type living struct {
	all    []*process
	cl     *client.Client
	ledger *house.RunLedger   // nil: it is blind
	engine *clickhouse.Server // ours, where the house is many
	took   time.Duration      // until it was ready
}

// start begins a house, and returns once it is ready.
func (o options) start(ctx context.Context) (l *living, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, standing, fmt.Errorf("the house is not ready after %s; see the logs in %s", standing, o.work))
	defer cancel()
	began := time.Now()
	l = &living{}
	if o.split {
		err = o.startMany(ctx, l)
	} else {
		err = o.startOne(ctx, l)
	}
	if err != nil {
		return nil, errors.Join(err, l.stop())
	}
	l.took = time.Since(began)
	return l, nil
}

func (o options) startOne(ctx context.Context, l *living) error {
	args := []string{"up", "--data", o.data()}
	if o.blind {
		args = append(args, "--no-ledger")
	}
	p, err := begin("up", filepath.Join(o.work, "up.log"), o.binary, args...)
	if err != nil {
		return err
	}
	l.all = append(l.all, p)
	var run house.RunFile
	err = p.until(ctx, func() bool {
		run, err = house.ReadRunFile(o.data())
		p.metrics = run.Metrics
		return err == nil && run.PID == p.pid && p.ready()
	})
	if err != nil {
		return err
	}
	if run, err = house.ReadRunFile(o.data()); err != nil { // the engine may have come later
		return err
	}
	l.ledger = run.Ledger
	l.cl, err = client.Open(run.Region, stage.Connect(run.Kafka...)...)
	return err
}

// startMany makes keys and vault, and starts the broker, the engine, and a process
// for each stage.
func (o options) startMany(ctx context.Context, l *living) error {
	broker := fmt.Sprint("127.0.0.1:", freePort())
	more := fmt.Sprintf("kafka: {brokers: [%q]}\nmetrics: {listen: \"127.0.0.1:0\"}\n", broker)
	if !o.blind {
		ledger, err := o.startEngine(ctx, l)
		if err != nil {
			return err
		}
		more += ledger
	}
	c, err := o.configure(more, o.behind)
	if err != nil {
		return err
	}
	if err := up.FirstKeys(ctx, c, os.Stderr); err != nil {
		return err
	}
	p, err := o.begin("broker")
	if err != nil {
		return err
	}
	l.all = append(l.all, p)
	if l.cl, err = client.Open(c.Region, stage.Connect(broker)...); err != nil {
		return err
	}
	if err := p.until(ctx, func() bool { return strings.Contains(p.said(), "broker at ") }); err != nil {
		return err
	}
	for _, s := range house.Catalogue {
		if s.Name == "recorder" && o.blind {
			continue
		}
		if p, err = o.begin(s.Name); err != nil {
			return err
		}
		l.all = append(l.all, p)
	}
	for _, p := range l.all {
		if p.name == "broker" || p.name == "ledger" { // they tell none
			continue
		}
		if err := p.until(ctx, func() bool {
			_, rest, _ := strings.Cut(p.said(), "metrics at ")
			p.metrics, _, _ = strings.Cut(rest, "\n")
			return p.metrics != "" && p.ready()
		}); err != nil {
			return err
		}
	}
	return nil
}

// begin starts one stage's process, whose log begins anew.
func (o options) begin(stage string) (*process, error) {
	log := filepath.Join(o.work, stage+".log")
	if err := os.RemoveAll(log); err != nil {
		return nil, err
	}
	p, err := begin(stage, log, o.binary, "run", "--config", o.configFile(), "--stages", stage)
	if err == nil {
		p.log = log
	}
	return p, err
}

func (p *process) said() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	return string(b)
}

// startEngine starts the ledger's engine as our own child, and returns its section
// of the configuration.
func (o options) startEngine(ctx context.Context, l *living) (string, error) {
	cache := os.Getenv("HOLDFAST_CACHE")
	if home, err := os.UserHomeDir(); err == nil && cache == "" {
		cache = filepath.Join(home, ".cache", "holdfast")
	}
	found, err := clickhouse.Find(cache)
	if errors.Is(err, clickhouse.ErrNone) {
		found, err = clickhouse.Fetch(ctx, cache)
	}
	if err != nil {
		return "", err
	}
	const word = "of-no-use-elsewhere"
	file := filepath.Join(o.work, "ledger.password")
	if err := os.WriteFile(file, []byte(word+"\n"), 0o600); err != nil {
		return "", err
	}
	l.engine, err = clickhouse.Start(ctx, clickhouse.Options{Engine: found, Dir: filepath.Join(o.work, "ledger"),
		Users: []clickhouse.User{{Name: "holdfast", Password: word}, {Name: "viewer", Password: word, Reader: true}}})
	if err != nil {
		return "", err
	}
	l.all = append(l.all, &process{name: "ledger", pid: l.engine.PID()})
	l.ledger = &house.RunLedger{Addr: l.engine.Addr(), HTTP: "http://" + l.engine.HTTPAddr(), User: "viewer", Password: word}
	return fmt.Sprintf("ledger: {addr: %q, user: holdfast, password_file: %q}\n", l.engine.Addr(), file), nil
}

// freePort is one that nothing listens on and that no kernel gives to who asks for
// any: those begin at 32768 (net.ipv4.ip_local_port_range).
func freePort() int {
	for {
		port := 20_000 + rand.IntN(10_000)
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			l.Close()
			return port
		}
	}
}

// until looks ten times a second whether f says so.
func (p *process) until(ctx context.Context, f func() bool) error {
	for !f() {
		select {
		case <-p.gone:
			return fmt.Errorf("%s ended by itself: %v", p.name, p.err)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", p.name, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

func (p *process) ready() bool {
	r, err := http.Get(strings.TrimSuffix(p.metrics, "metrics") + "readyz")
	if err != nil {
		return false
	}
	r.Body.Close()
	return r.StatusCode == http.StatusOK
}

// stop ends all of it in order: the broker last, so that the stages can commit.
func (l *living) stop() error {
	var errs []error
	if l.cl != nil {
		l.cl.Close()
		l.cl = nil
	}
	for i := len(l.all) - 1; i >= 0; i-- {
		if err := l.all[i].stop(); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", l.all[i].name, err))
		}
	}
	l.all = nil
	if l.engine != nil {
		errs = append(errs, l.engine.Stop())
		l.engine = nil
	}
	return errors.Join(errs...)
}
