package stage_test

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/watch"
)

// What a record costs on its way through a stage that hands it on: the broker
// in this process, stamps, metrics and commits are in it. cpu-ns/op is the
// figure to watch on a machine that does other things too.
func BenchmarkHandOn(b *testing.B) {
	var net kfake.VirtualNetwork
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(net.Listen),
		kfake.SeedTopics(4, leased.In("r"), leased.Refused().In("r"), open.In("r"), "r.backups.faulted"))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	opts := append(stage.Connect(c.ListenAddrs()...), kgo.Dialer(net.DialContext))
	cl, err := kgo.NewClient(append(opts, kgo.MaxBufferedRecords(1<<20))...)
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	for i := range b.N {
		e := lease(strconv.Itoa(i), strings.Repeat("x", 200))
		cl.Produce(b.Context(), &kgo.Record{Topic: leased.In("r"), Key: e.Key, Value: e.Value}, nil)
	}
	if err := cl.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	var done atomic.Int64
	s := stage.Define("relay", func(stage.Env) (func(*stage.Room) (*clerk, error), error) {
		return func(*stage.Room) (*clerk, error) { return &clerk{}, nil }, nil
	}, stage.On(leased, func(_ *clerk, in *stage.In, v words) error {
		in.Emit(open.Event(in.Key, v))
		if done.Add(1) == int64(b.N) {
			stop()
		}
		return nil
	}), stage.Emits[*clerk](open.Spec))
	b.ResetTimer()
	before := cpu()
	err = stage.Run(ctx, s, stage.Env{Region: "r", Worker: "bench/1", Kafka: opts, Log: slog.New(slog.DiscardHandler),
		Watch: stage.Telemetry(watch.NewMetrics(), &watch.Health{}, nil)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
