package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/libs/watch"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

// land is one region: its own vault, keys, staging and source.
type land struct {
	*under
	name  string
	kafka stage.Reach
	port  int
}

// layRegion makes a region's folders and file, keys and vault.
func layRegion(t *testing.T, name string, port int, machines map[string]map[string][]byte) *land {
	t.Helper()
	l := &land{under: lay(t, machines), name: name, kafka: stage.Connect(fmt.Sprint("127.0.0.1:", port)), port: port}
	l.configure(up.Options{}, "region: local", fmt.Sprintf("region: %s\nkafka: {brokers: [\"127.0.0.1:%d\"]}", name, port), "name: local", "name: "+name,
		"{name: images", "{name: kvm-"+name)
	c, err := up.Configure(l.options(up.Options{}))
	l.must(err)
	l.must(up.FirstKeys(t.Context(), c, io.Discard))
	return l
}

func (l *land) config() string { return filepath.Join(l.data, "holdfast.yaml") }

// work runs every stage of the region but the scheduler, until stop.
func (l *land) work() (stop func()) {
	l.t.Helper()
	c, err := up.Configure(l.options(up.Options{}))
	l.must(err)
	log, err := os.Create(l.log)
	l.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	parts := house.NewParts(ctx, c, watch.Logger(log, slog.LevelInfo))
	ended := make(chan error, 1)
	go func() {
		defer parts.Close()
		ended <- house.Run(ctx, parts, house.Without(house.Without(house.Catalogue, "recorder"), "scheduler"), l.kafka, watch.NewMetrics(), new(watch.Health))
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			l.t.Errorf("region %s: %v", l.name, err)
		}
	})
	l.t.Cleanup(stop)
	return stop
}

// Two regions, each with a vault, staging and a source of its own, on one Kafka and one
// coordinator, which is told of one and finds the other while it runs. A list over both
// is one job; what befalls one region stops no backup of the other; the coordinator is
// killed and begun again; and each region restores what is its own.
func TestTwoRegions(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	disk := map[string][]byte{}
	for i, name := range []string{"eu-web", "eu-db", "us-web", "us-db"} {
		disk[name] = noise(byte(40+i), 4<<20)
	}
	of := func(names ...string) map[string]map[string][]byte {
		all := map[string]map[string][]byte{}
		for _, n := range names {
			all[n] = map[string][]byte{"disk0.raw": disk[n]}
		}
		return all
	}
	eu, us := layRegion(t, "eu-1", port, of("eu-web", "eu-db")), layRegion(t, "us-1", port, of("us-web", "us-db"))
	u := &under{t: t, data: t.TempDir()}
	coordinator := filepath.Join(u.data, "holdfast.yaml")
	u.must(os.WriteFile(coordinator, fmt.Appendf(nil, "regions: [eu-1, \"*\"]\nkafka: {brokers: [\"127.0.0.1:%d\"]}\n", port), 0o600))

	eu.process(filepath.Join(eu.data, "broker.log"), "run", "--config", eu.config(), "--stages", "broker")
	u.until("the broker", func() bool {
		conn, err := net.DialTimeout("tcp", fmt.Sprint("127.0.0.1:", port), time.Second)
		if err == nil {
			conn.Close()
		}
		_, _, code := u.holdfast("machines")
		return err == nil && code == 0
	})
	begin := func() *process {
		return u.process(filepath.Join(u.data, "coordinator.log"), "run", "--config", coordinator, "--stages", "scheduler")
	}
	first := begin()
	eu.work()
	u.listed(2)
	if ends := u.ends("eu-web"); len(ends) != 1 || ends[0].Status != "completed" {
		t.Fatal(names(ends))
	}

	cl, err := client.Open("us-1", us.kafka...)
	u.must(err)
	t.Cleanup(cl.Close)
	_, err = cl.Ensure(t.Context(), client.OneMachine) // while the coordinator runs
	u.must(err)
	stop := us.work()
	u.listed(4)
	if out := u.done("machines"); strings.Count(out, "\teu-1\n") != 2 || strings.Count(out, "\tus-1\n") != 2 {
		t.Errorf("machines of two regions: %s", out)
	}
	list := filepath.Join(u.data, "machines.txt")
	u.must(os.WriteFile(list, []byte("eu-web\neu-db # both regions' timers read this\nus-web\nus-db\n"), 0o600))
	ends := u.ends("--from", list)
	if len(ends) != 4 || ends[0].Job.Of != 4 {
		t.Fatal(names(ends))
	}
	for _, e := range ends {
		if e.Status != "completed" {
			t.Fatal(names(ends))
		}
	}

	stop() // all workers of us-1
	first.Process.Kill()
	var asked struct {
		Jobs []struct {
			ID     string
			Others map[string]int
		}
	}
	u.must(json.Unmarshal([]byte(u.done("backup", "-o", "json", "--from", list, "--region", "us-1")), &asked))
	if len(asked.Jobs) != 1 || asked.Jobs[0].Others["eu-1"] != 2 {
		t.Fatalf("of the list's machines two are eu-1's: %+v", asked)
	}
	begin()
	if ends := u.ends("eu-db"); len(ends) != 1 || ends[0].Status != "completed" {
		t.Fatalf("while the other region has no workers: %s", names(ends))
	}
	if out := u.done("jobs", asked.Jobs[0].ID); strings.Contains(out, "completed") {
		t.Errorf("without workers: %s", out)
	}
	us.work()
	u.until("the backups of the region whose workers were down", func() bool {
		out := u.done("jobs", asked.Jobs[0].ID)
		return strings.Count(out, "\tcompleted\t") == 2 && !strings.Contains(out, "eu-")
	})

	for name, l := range map[string]*land{"eu-web": eu, "us-db": us} {
		to := filepath.Join(l.data, "restored", name)
		l.done("restore", name, "--to", to)
		l.same(filepath.Join(to, "disk0.raw"), disk[name])
		if out := l.done("points"); strings.Contains(out, "eu-") && strings.Contains(out, "us-") {
			t.Errorf("a vault has points of both regions: %s", out)
		}
	}
	if out := u.done("points"); strings.Count(out, "\teu-1\n") != 4 || strings.Count(out, "\tus-1\n") != 4 {
		t.Errorf("points of both regions that events tell of: %s", out)
	}
}
