// Package broker is Kafka for one machine: franz-go's kfake on a data folder.
//
// It speaks the real protocol, so stages, kcat and any client meet what they
// meet in a cluster. What it lacks is made up for here: its retention timer
// stops at a restart, and its compaction can lose keys, so tables are never
// compacted but rolled at a start (see Roll). Nothing of ours needs transactions.
package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Options of a broker.
type Options struct {
	Dir  string // its data, made if it is not there
	Port int    // 0: the one of last time, else 9092, else any that is free
	// Log hears what the broker finds wrong, such as what a crash tore and it cuts
	// off. Nil: nobody does.
	Log *slog.Logger
}

// Broker is one running broker.
type Broker struct {
	c    *kfake.Cluster
	lock *os.File
	stop chan struct{}
	done sync.WaitGroup
	addr string
}

// sweep is how often old segments go.
const sweep = time.Hour

// Start runs a broker on loopback until Close. A folder that another process
// uses is refused.
func Start(o Options) (*Broker, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("broker folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(o.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("broker folder: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s is in use by another broker", o.Dir)
	}
	at, err := listen(o)
	if err != nil {
		lock.Close()
		return nil, err
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1), kfake.ListenFn(func(string, string) (net.Listener, error) { return at, nil }), kfake.ClusterID("holdfast"),
		kfake.DataDir(filepath.Join(o.Dir, "log")), kfake.SyncWrites(),
		kfake.BrokerConfigs(map[string]string{
			"offsets.retention.minutes": "525600", // a stage may be off for a year
			"message.max.bytes":         strconv.Itoa(8 << 20),
		}),
	}
	if o.Log != nil {
		opts = append(opts, kfake.WithLogger(logger{o.Log}))
	}
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		at.Close()
		lock.Close()
		return nil, fmt.Errorf("start broker in %s: %w", o.Dir, err)
	}
	b := &Broker{c: c, lock: lock, stop: make(chan struct{}), addr: c.ListenAddrs()[0]}
	b.done.Go(b.keep)
	return b, nil
}

// logger passes warnings on and errors; below them the broker tells each request.
type logger struct{ *slog.Logger }

func (l logger) Logf(level kfake.LogLevel, format string, a ...any) {
	if level <= kfake.LogLevelWarn {
		l.Warn("broker: " + fmt.Sprintf(format, a...))
	}
}

// Addr is host:port.
func (b *Broker) Addr() string { return b.addr }

// Close stops the broker; what was acknowledged is on disk.
func (b *Broker) Close() {
	close(b.stop)
	b.done.Wait()
	b.c.Close()
	b.lock.Close()
}

// Bytes is the size of a topic's log.
func (b *Broker) Bytes(topic string) (n int64) {
	for _, p := range b.c.PartitionInfos(topic) {
		n += p.NumBytes
	}
	return n
}

// keep applies retention: the broker's own timer does not start after a restart.
func (b *Broker) keep() {
	tick := time.NewTicker(sweep)
	defer tick.Stop()
	for {
		b.c.ApplyRetention()
		select {
		case <-tick.C:
		case <-b.stop:
			return
		}
	}
}

// listen takes the port of last time where it can, so that what people wrote
// down goes on working after a restart. It does not let go of it again: a port that
// was seen to be free may be another's a moment later.
func listen(o Options) (net.Listener, error) {
	if o.Port != 0 {
		return listenOn(o.Port)
	}
	file := filepath.Join(o.Dir, "port")
	port := 9092
	if b, err := os.ReadFile(file); err == nil {
		if p, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && p > 0 && p < 1<<16 {
			port = p
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the broker's port: %w", err)
	}
	l, err := listenOn(port)
	if err != nil {
		if l, err = listenOn(0); err != nil {
			return nil, err
		}
	}
	port = l.Addr().(*net.TCPAddr).Port
	if err := os.WriteFile(file, []byte(strconv.Itoa(port)), 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("keep the broker's port: %w", err)
	}
	return l, nil
}

func listenOn(port int) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("the broker's port: %w", err)
	}
	return l, nil
}
