package s3

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob/s3/s3test"
)

// BenchmarkShards puts and gets shards of 4 MiB, eight at a time as a vault does,
// over http, where the body is signed. CPU is of this side and of the server.
func BenchmarkShards(b *testing.B) {
	server := s3test.Start(b, b.TempDir())
	s, err := Open(at(server, ""))
	if err != nil {
		b.Fatal(err)
	}
	body := noise(1, 4<<20)
	var puts atomic.Int64
	eight := func(b *testing.B, f func(i int64) error) {
		b.SetBytes(int64(len(body)))
		ours, theirs := cpu(syscall.RUSAGE_SELF), server.CPU()
		var next atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
					if err := f(i); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		gb := float64(b.N) * float64(len(body)) / 1e9
		b.ReportMetric((cpu(syscall.RUSAGE_SELF)-ours).Seconds()/gb, "ourCPUs/GB")
		b.ReportMetric((server.CPU()-theirs).Seconds()/gb, "theirCPUs/GB")
	}
	b.Run("Put", func(b *testing.B) {
		eight(b, func(int64) error { return s.Put(b.Context(), fmt.Sprint("k", puts.Add(1)), body[:64], body[64:]) })
	})
	b.Run("Get", func(b *testing.B) {
		eight(b, func(i int64) error {
			_, err := s.Get(b.Context(), fmt.Sprint("k", 1+i%puts.Load()), 0, -1)
			return err
		})
	})
}

func cpu(who int) time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(who, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
