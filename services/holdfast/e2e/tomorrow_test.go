package e2e

import (
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/watch"
	"github.com/holdfast-backup/holdfast/ops/standalone/broker"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
	"github.com/holdfast-backup/holdfast/topics"
)

// Goal: in a rolling upgrade, today's stages work beside tomorrow's. Method: every
// record of the whole walk gets a field and a header on its way that nobody knows;
// and before, each stream gets, in each partition, a message of which nothing but
// its Run is known, as a word is that a newer program says. Machines are backed up,
// changed, backed up again and restored; no room fails, and nothing is left undone.
func TestTomorrowsRecords(t *testing.T) {
	disk := noise(11, 24<<20)
	u := lay(t, map[string]map[string][]byte{"web": {"disk0.raw": disk, "vm.xml": []byte("<domain/>")}})
	web := u.hand(stagetest.Tomorrow("local"))
	u.listed(1)
	cl := u.kafka()
	for _, e := range words() {
		for part := range int32(4) {
			u.must(cl.Publish(t.Context(), e.To(part)))
		}
	}
	for i := range 2 {
		if ends := u.ends("web"); len(ends) != 1 || ends[0].Status != "completed" {
			t.Fatalf("backup %d: %s", i, names(ends))
		}
		copy(disk[8<<20:], noise(byte(12+i), 1<<20))
		u.write("web", "disk0.raw", disk)
	}
	copy(disk[8<<20:], noise(12, 1<<20)) // as the second backup found it
	u.done("verify", "--deep")
	to := filepath.Join(u.data, "restored", "web")
	u.done("restore", "web", "--to", to)
	u.same(to+"/disk0.raw", disk)
	// The auditor parks what comes before the lease of its backup, as these may have.
	u.until("nothing to be left undone", func() bool {
		return strings.Count(sum(web(), "holdfast_stage_lag_records"), "\n") == strings.Count(sum(web(), `holdfast_stage_lag_records{region="local",stage="auditor"`), "\n")
	})
	if failed := sum(web(), `event="failed"`) + sum(web(), `event="renewed"`); failed != "" {
		t.Error("rooms failed: ", failed)
	}
}

// hand runs a house as up does, whose stages reach Kafka in an odd way. It returns
// its metrics.
func (u *under) hand(odd stage.Reach) (metrics func() string) {
	u.t.Helper()
	u.configure(up.Options{})
	c, err := conf.Load(filepath.Join(u.data, "holdfast.yaml"))
	u.must(err)
	u.must(up.FirstKeys(u.t.Context(), c, io.Discard))
	b, err := broker.Start(broker.Options{Dir: filepath.Join(u.data, "kafka")})
	u.must(err)
	u.t.Cleanup(b.Close)
	cl, err := client.Open(c.Region, stage.Connect(b.Addr())...)
	u.must(err)
	defer cl.Close()
	_, err = cl.Ensure(u.t.Context(), client.OneMachine)
	u.must(err)
	u.run = house.RunFile{PID: os.Getpid(), Region: c.Region, Kafka: []string{b.Addr()}, Vault: []string{u.data + "/vault"}}
	u.must(u.run.Write(u.data))
	log, err := os.Create(u.log)
	u.must(err)
	m := watch.NewMetrics()
	ctx, stop := context.WithCancel(context.Background())
	parts := house.NewParts(ctx, c, watch.Logger(log, slog.LevelInfo))
	ended := make(chan error, 1)
	go func() {
		defer parts.Close()
		ended <- house.Run(ctx, parts, house.Without(house.Catalogue, "recorder"), append(stage.Connect(b.Addr()), odd...), m, new(watch.Health))
	}()
	u.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			u.t.Error(err)
		}
	})
	return func() string {
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
}

// sum is the metrics' lines with such a word that do not say 0.
func sum(metrics, word string) (lines string) {
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, "#") && strings.Contains(line, word) && !strings.HasSuffix(line, " 0\n") {
			lines += line
		}
	}
	return lines
}

// words are what a newer program may say in each stream, and nobody here knows.
func words() []topics.Event {
	return []topics.Event{word(topics.BackupsQueued), word(topics.BackupsLeased), word(topics.ExtentsExported), word(topics.FilesExported),
		word(topics.ExportsEnded), word(topics.ExtentsCut), word(topics.ChunksCut), word(topics.ChunksKnown), word(topics.ChunksFresh),
		word(topics.ChunksDropped), word(topics.PacksSealed), word(topics.ChunksLanded), word(topics.ExtentsClosed),
		word(topics.BackupsFaulted), word(topics.BackupsJudged)}
}

func word[T proto.Message](t topics.Topic[T]) topics.Event {
	var zero T
	m := zero.ProtoReflect().Type().New()
	run := &schemas.Run{Backup: make([]byte, 16), Attempt: 1, Lease: make([]byte, 16), Epoch: 1}
	run.Backup[0], run.Lease[0] = 0x99, 0x98
	if f := m.Descriptor().Fields().ByName("run"); f != nil && !f.IsList() {
		m.Set(f, protoreflect.ValueOfMessage(run.ProtoReflect()))
	}
	e := t.Event(run.Backup, m.Interface().(T))
	e.Value = stagetest.OfTomorrow(e.Value)
	return e
}
