package scheduler

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/holdfast-backup/holdfast/schemas"
)

// world is everything around one scheduler's room: the logs that it reads and
// writes, an exporter and an auditor that follow PROTOCOLS A2, all of them able
// to repeat, to lag and to die. No time passes but by advance.
type world struct {
	t     *rapid.T
	now   time.Time
	s     *state
	ids   uint64
	rows  map[string][]byte // the table, as acknowledged
	in    [3]feed           // orders, the exporter's answers, the auditor's words
	told  []*schemas.BackupLeased
	exp   exporterModel
	aud   auditorModel
	limit *schemas.SourceFound
	begun map[string]bool // backups that had a lease
	where map[string]*schemas.MachineFound
	at    map[string]where // of machines, by lease, when it was granted
	chaos bool             // repeats, crashes, failures
}

// feed is one input topic: what is committed comes never again.
type feed struct {
	log             []proto.Message
	read, committed int
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, now: time.UnixMilli(1_800_000_000_000), rows: map[string][]byte{}, begun: map[string]bool{}, chaos: true,
		where: map[string]*schemas.MachineFound{}, at: map[string]where{}, limit: &schemas.SourceFound{SnapshotsMax: 2, ShareBytes: 3 << 29, WindowBytes: 1 << 29}}
	if rapid.Bool().Draw(t, "places") { // else nothing but the source's own limits counts
		w.limit = &schemas.SourceFound{SnapshotsMax: 4, ShareBytes: 5 << 29, WindowBytes: 1 << 29, Connections: 3,
			PerHost: uint32(rapid.IntRange(0, 2).Draw(t, "per host")), PerDatastore: uint32(rapid.IntRange(0, 2).Draw(t, "per datastore"))}
	}
	for i := range 4 {
		w.move(i)
	}
	w.exp = exporterModel{w: w, leases: map[string]*export{}}
	w.aud = auditorModel{w: w, verdicts: map[string]schemas.Status{}, seen: map[string]*schemas.BackupLeased{}}
	w.restart()
	return w
}

// move puts a machine on a host and datastores, of which there are three each.
func (w *world) move(i int) {
	key := fmt.Sprint("a\nvm-", i)
	row := &schemas.MachineFound{Host: fmt.Sprint("h", rapid.IntRange(0, 2).Draw(w.t, "host"))}
	for d := range 3 {
		if rapid.Bool().Draw(w.t, "on datastore") {
			row.Datastores = append(row.Datastores, fmt.Sprint("d", d))
		}
	}
	w.where[key] = row
	if w.s != nil {
		w.s.machineFound(key, row)
	}
}

// restart is a kill -9 and the recall that follows.
func (w *world) restart() {
	w.s = newState(Default().Limits, w.uuid)
	for i := range w.in {
		w.in[i].read = w.in[i].committed
	}
	w.s.sourceFound("a", w.limit)
	for key, row := range w.where {
		w.s.machineFound(key, row)
	}
	w.s.epochTurned(&schemas.EpochTurned{Epoch: 1, Turn: schemas.EpochTurned_TURN_OPENED})
	for _, b := range w.rows {
		row := &schemas.MachineTended{}
		if err := proto.Unmarshal(b, row); err != nil {
			panic(err)
		}
		w.s.recalled(row)
	}
	w.apply(func(fx *effects) { w.s.begin(w.now, fx) })
}

func (w *world) uuid() (u schemas.UUID) {
	w.ids++
	binary.BigEndian.PutUint64(u[8:], w.ids)
	return u
}

// apply runs one input and carries its effects out, as the room does; a crash
// may come after any of the three steps. It reports whether all was done.
func (w *world) apply(input func(*effects)) bool {
	var fx effects
	input(&fx)
	cut := 3
	if w.chaos && rapid.IntRange(0, 19).Draw(w.t, "crash?") == 0 {
		cut = rapid.IntRange(0, 2).Draw(w.t, "after step")
	}
	w.tell(fx.first, cut == 0)
	if cut == 0 {
		w.restart()
		return false
	}
	for i, m := range fx.rows {
		if cut == 1 && i == len(fx.rows)/2 {
			w.restart()
			return false
		}
		if o := m.row.GetOpen(); o.GetState() == schemas.OpenRun_STATE_LEASED {
			if _, again := w.at[string(o.GetRun().GetLease())]; !again {
				w.at[string(o.GetRun().GetLease())] = whereOf(w.where[m.key])
			}
		}
		b, err := proto.Marshal(m.row)
		if err != nil {
			panic(err)
		}
		w.rows[m.key] = b
	}
	w.tell(fx.then, cut == 2)
	if cut < 3 {
		w.restart()
		return false
	}
	w.checkSlots()
	return true
}

// tell appends words to the log; a torn one only half of them.
func (w *world) tell(words []*schemas.BackupLeased, torn bool) {
	if torn {
		words = words[:len(words)/2]
	}
	for _, word := range words {
		id := string(word.GetRun().GetBackup())
		if word.GetVerb() == schemas.BackupLeased_VERB_REFUSED && w.begun[id] && w.aud.verdicts[id] == 0 {
			w.t.Fatalf("backup %x is refused while it runs: %s", id, word.GetReason())
		}
		w.begun[id] = w.begun[id] || word.GetVerb() == schemas.BackupLeased_VERB_LEASED
		w.told = append(w.told, proto.CloneOf(word))
	}
}

// step feeds the next record of input i to the scheduler.
func (w *world) step(i int) bool {
	f := &w.in[i]
	if f.read == len(f.log) {
		return false
	}
	m := proto.Clone(f.log[f.read])
	f.read++
	if !w.apply(func(fx *effects) {
		switch m := m.(type) {
		case *schemas.BackupQueued:
			if err := w.s.ordered(m, w.now, fx); err != nil {
				w.t.Fatal(err)
			}
		case *schemas.ExportEnded:
			w.s.exported(m, w.now, fx)
		case *schemas.BackupJudged:
			w.s.judged(m, w.now, fx)
		}
	}) {
		return true
	}
	if !w.chaos || rapid.Bool().Draw(w.t, "commit") {
		for i := range w.in {
			w.in[i].committed = w.in[i].read
		}
	}
	return true
}

func (w *world) advance(d time.Duration) {
	w.now = w.now.Add(d)
	w.apply(func(fx *effects) { w.s.tick(w.now, fx) })
}

// checkSlots holds what the scheduler thinks and what the exporter has open
// against the limits.
func (w *world) checkSlots() {
	src := w.s.source("a")
	if why := w.s.unsound(w.now); why != "" {
		w.t.Fatal(why)
	}
	shares := src.counted()
	for key, had := range src.line.shares {
		if had.open != shares[key] {
			w.t.Fatalf("%q has %d slots by the rows, and is counted for %d", key, shares[key], had.open)
		}
	}
	counted := src.used
	src.recount()
	if !reflect.DeepEqual(counted, src.used) && fmt.Sprint(counted) != fmt.Sprint(src.used) {
		w.t.Fatalf("slots are counted as %+v, the rows say %+v", counted, src.used)
	}
	most, mostDirs := src.limit()
	open := w.exp.open()
	for who, u := range map[string]used{"granted": counted, "open at the source": open} {
		if u.snapshots > most || u.dirs > mostDirs || w.limit.Connections != 0 && u.connections > uint64(w.limit.Connections) {
			w.t.Fatalf("limits %v, %s %+v", w.limit, who, u)
		}
		for _, l := range []struct {
			n     map[string]uint64
			limit uint32
		}{{u.hosts, w.limit.PerHost}, {u.datastores, w.limit.PerDatastore}} {
			for at, n := range l.n {
				if l.limit != 0 && n > uint64(l.limit) {
					w.t.Fatalf("limit %d of %s, %s %+v", l.limit, at, who, u)
				}
			}
		}
	}
}

// settle ends all faults and lets the world come to rest.
func (w *world) settle() {
	w.chaos = false
	w.restart()
	for round := 0; round < 3000; round++ {
		busy := false
		for i := range w.in {
			busy = w.step(i) || busy
		}
		busy = w.exp.read() || busy
		busy = w.aud.read() || busy
		busy = w.exp.work(true) || busy
		busy = w.aud.work(true) || busy
		if busy {
			w.now = w.now.Add(time.Second)
			continue
		}
		if w.atRest() == "" {
			return
		}
		w.advance(time.Minute)
	}
	w.t.Fatalf("no rest: %s", w.atRest())
}

func (w *world) atRest() string {
	for _, m := range w.s.sorted(everyone) {
		if o := m.row.GetOpen(); o != nil {
			return fmt.Sprintf("%s is open: %v", m.key, o)
		}
		if n := len(m.row.GetPending()); n > 0 {
			return fmt.Sprintf("%s has %d pending", m.key, n)
		}
	}
	for _, r := range w.in[0].log {
		if q := r.(*schemas.BackupQueued); !q.GetCancel() && w.aud.verdicts[string(q.GetBackup())] == 0 {
			return fmt.Sprintf("backup %x has no verdict", q.GetBackup())
		}
	}
	if u := w.exp.open(); u.snapshots+u.dirs > 0 {
		return fmt.Sprintf("left open: %+v", u)
	}
	if u := w.s.source("a").used; u.snapshots+u.dirs+u.connections+uint64(len(u.hosts)+len(u.datastores)) > 0 {
		return fmt.Sprintf("slots are taken: %+v", u)
	}
	return ""
}
