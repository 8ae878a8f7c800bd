// Package up is the one-machine mode: a broker, a ledger, a vault in folders and
// every stage, in one process and on one data folder. Nothing in it is another
// path than in a cluster: the stages talk through Kafka here, too.
package up

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/libs/watch"
	"github.com/holdfast-backup/holdfast/ops/standalone/broker"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

// Options of a one-machine mode.
type Options struct {
	Data    string
	Images  []string // folders of machines; only where there is no configuration yet
	VCenter VCenter  // as Images
	Targets []string // as Images; none: six folders below Data
	K, M    int      // 0 and 0: 4+2, or by the number of targets
	// Compression of the vault, when it is made; empty: zstd-fastest.
	Compression string
	Port        int  // of Kafka; 0: that of last time, else 9092, else any
	Blind       bool // no ledger
	Say         io.Writer
	Log         *slog.Logger
	// Ready is called once every stage works.
	Ready func(house.RunFile)
}

// VCenter is a source for the first configuration.
type VCenter struct{ URL, User, PasswordFile, Thumbprint string }

// Up runs until ctx ends.
func Up(ctx context.Context, o Options) error {
	data, err := filepath.Abs(o.Data)
	if err != nil {
		return err
	}
	o.Data = data
	f, err := openFolder(data)
	if err != nil {
		return err
	}
	defer f.close()
	c, err := Configure(o)
	if err != nil {
		return err
	}
	say := func(format string, a ...any) { fmt.Fprintf(o.Say, format+"\n", a...) }
	ring, err := firstKeys(ctx, c, o.Say)
	if err != nil {
		return err
	}
	b, err := openBroker(ctx, o, c, say)
	if err != nil {
		return err
	}
	defer b.Close()
	run := house.RunFile{PID: os.Getpid(), Region: c.Region, Kafka: []string{b.Addr()}}
	for _, t := range c.Vault.Targets {
		run.Vault = append(run.Vault, t.Where())
	}
	defer house.RemoveRunFile(data) // last: an engine that starts writes it again
	services := house.Catalogue
	ledger := openLedger(ctx, o, c, data, say)
	if ledger != nil {
		defer ledger.close()
	} else if c.Ledger.Addr == "" {
		services = house.Without(services, "recorder")
	}
	metrics, health := watch.NewMetrics(), new(watch.Health)
	at, stopped, err := listen(c, data, metrics, health, o.Log)
	if err != nil {
		return err
	}
	defer stopped()
	run.Metrics = "http://" + at + "/metrics"
	if err := run.Write(data); err != nil {
		return err
	}
	if ledger != nil {
		now := run // the engine's own: it may start again at any time
		run.Ledger = ledger.tell(func(l *house.RunLedger) {
			now.Ledger = l
			if err := now.Write(data); err != nil {
				say("the ledger is at %s, and people do not learn it: %v", l.Addr, err)
			}
		})
	}
	return serve(ctx, o, c, ring, services, run, metrics, health, say)
}

// serve runs the stages and says when they all work.
func serve(ctx context.Context, o Options, c *conf.Config, ring *vault.Ring, services []house.Service, run house.RunFile, metrics *watch.Metrics, health *watch.Health, say func(string, ...any)) error {
	parts := house.NewParts(ctx, c, o.Log)
	parts.Unlocked(ring)
	defer parts.Close()
	ready, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		if waitReady(ready, health, len(services)) {
			announce(c, run, say)
			if o.Ready != nil {
				o.Ready(run)
			}
		}
	}()
	return house.Run(ctx, parts, services, stage.Connect(run.Kafka...), metrics, health)
}

// waitReady polls, because parts speak for themselves and none knows of the others.
func waitReady(ctx context.Context, h *watch.Health, parts int) bool {
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-tick.C:
			if states, ready := h.State(); ready && len(states) >= parts {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

func openBroker(ctx context.Context, o Options, c *conf.Config, say func(string, ...any)) (*broker.Broker, error) {
	dir := filepath.Join(o.Data, "kafka")
	b, err := broker.Start(broker.Options{Dir: dir, Port: o.Port, Log: o.Log})
	if err != nil {
		return nil, err
	}
	cl, err := client.Open(c.Region, stage.Connect(b.Addr())...)
	if err == nil {
		defer cl.Close()
		_, err = cl.Ensure(ctx, client.OneMachine)
	}
	if err == nil {
		var rolled []string
		if rolled, err = b.Roll(ctx, cl, c.Region, filepath.Join(dir, "rolls")); len(rolled) > 0 {
			say("rolled the tables %v", rolled)
		}
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// openLedger starts an engine where no server is configured. Without one this
// house is blind, which is said in one line and stops nothing.
func openLedger(ctx context.Context, o Options, c *conf.Config, data string, say func(string, ...any)) *engine {
	if c.Ledger.Addr != "" {
		return nil
	}
	if o.Blind {
		say("no ledger: blind, as asked for; backups and restores do not need it")
		return nil
	}
	dir := ledgerDir(data)
	e, err := startEngine(ctx, dir, say)
	if err != nil {
		say("no ledger: %v; backups and restores do not need it", err)
		return nil
	}
	c.Ledger.Addr, c.Ledger.User, c.Ledger.PasswordFile = e.addr(), writer, passwordFile(dir, writer)
	return e
}

func announce(c *conf.Config, run house.RunFile, say func(string, ...any)) {
	say("Holdfast is up. Region %s, %d+%d shards on %d targets.", c.Region, c.Vault.Shards.K, c.Vault.Shards.M, len(c.Vault.Targets))
	if device, one := oneDevice(run.Vault); one {
		say("NO PROTECTION: all targets lie on one disk (%s); its loss is the loss of every backup.", device)
	}
	say("  kafka       %s        kcat -b %s -t backups.completed", run.Kafka[0], run.Kafka[0])
	if l := run.Ledger; l != nil {
		say("  clickhouse  %s (native), %s, user %s, password in run.json", l.Addr, l.HTTP, l.User)
		say("              curl '%s/?user=%s&password=%s' -d 'SELECT * FROM ledger.backups'", l.HTTP, l.User, l.Password)
	}
	say("  metrics     %s", run.Metrics)
	say("  back up     holdfast backup --data %s --match '*' --wait", c.Data)
}
