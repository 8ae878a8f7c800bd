package exporter

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/rate"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/topics"
)

const (
	stageName = "exporter"
	// tickEvery is how often a room looks whether something is due.
	tickEvery = 10 * time.Second
	// listEvery is how often a source is listed that does not say.
	listEvery = 5 * time.Minute
)

// Config of the exporter.
type Config struct {
	// Readers is how many machines one process reads at once; the others wait
	// their turn, which sources share evenly. Each takes 20 MiB (at the 64 KiB grid).
	// Default 8: 160 MiB; a process on fewer than four cores has twice its cores.
	Readers int `yaml:"readers"`
	// Hunt is how often the share is searched for folders of leases that nobody
	// knows, and the sources for snapshots of theirs. What was seen so twice is
	// removed. Default 1h.
	Hunt conf.Duration `yaml:"hunt"`
}

// Default is the configuration without a file.
func Default() Config { return Config{Readers: 8, Hunt: conf.Duration(time.Hour)} }

// Deps is what the exporter needs of the house.
type Deps struct {
	Sources map[string]Provider // by name; every exporter of a region has all of the region's
	Grid    uint32              // of the vault
	// DigestKey takes the digests that chunks are named from; it names nothing.
	DigestKey [32]byte
	// ExtentBytes is the most that an extent holds. 0: cut.ExtentBytes. Simulations
	// have less, so that small machines have many extents.
	ExtentBytes int
	// Rooms shares the sources' limits with the other exporters. May be nil.
	Rooms *rate.Rooms
	// Gauge registers a metric that is asked when somebody looks. May be nil.
	Gauge func(name, help string, labels map[string]string, value func() float64)
}

// Provider is one source, where its bytes go, and what protects it from us.
type Provider struct {
	Source source.Source
	Share  *staging.Share // may be that of other sources too
	// ShareBytes and WindowBytes are what the share holds, and what one lease may
	// have in flight: the scheduler makes region slots of them.
	ShareBytes, WindowBytes uint64
	// Limits of the source, which the scheduler keeps; and one in how many backups
	// is compared against a full read (0: none).
	Limits     Limits
	CheckOneIn uint32
	// Every is how often the source is listed. 0: 5m.
	Every time.Duration
	// Limit is of the bytes that this process reads of it. nil: none.
	Limit *rate.Limiter
}

// Limits protect a source from us; 0 is no limit. See conf.SourceLimits.
type Limits struct {
	Snapshots, PerHost, PerDatastore, Connections uint32
	Hold, Slow                                    time.Duration // see conf.SourceLatency
}

// shared is what the rooms of a process have in common.
type shared struct {
	env  stage.Env
	deps Deps
	limits
	hunt    time.Duration
	readers int
	turns   *turns

	mu    sync.Mutex
	bufs  [][]byte          // of readers that are done
	marks map[string]*asked // by source
	gates map[string]*gate  // by source and store
}

// Stage reads machines and puts what changed into staging.
func Stage(c Config, d Deps) stage.Stage {
	return define(c, d, limits{extentBytes: cmp.Or(d.ExtentBytes, cut.ExtentBytes), cursorBytes: cursorBytes, cursorExtents: cursorExtents})
}

// limits of a reading; a test has smaller ones.
type limits struct {
	extentBytes   int
	cursorBytes   int64
	cursorExtents uint64
}

func define(c Config, d Deps, lim limits) stage.Stage {
	return stage.Define(stageName, func(env stage.Env) (func(*stage.Room) (*room, error), error) {
		if err := cut.CheckGrid(d.Grid); err != nil {
			return nil, err
		}
		// A page, which has 64 places and lies in one extent, fits in one.
		if most := lim.extentBytes / cut.PagePlaces; int(d.Grid) > most {
			return nil, fmt.Errorf("grid of %d bytes: a page of 64 places must fit in an extent, so %d at most", d.Grid, most)
		}
		if c.Readers < 1 {
			return nil, fmt.Errorf("stages.exporter.readers: %d, want 1 at least", c.Readers)
		}
		s := &shared{env: env, deps: d, limits: lim, hunt: time.Duration(c.Hunt), turns: newTurns(c.Readers), readers: c.Readers, marks: map[string]*asked{}, gates: map[string]*gate{}}
		return s.room, nil
	},
		stage.Own(topics.ExportsOpen, (*room).row),
		stage.Own(topics.MachinesFound, (*room).found),
		stage.On(topics.BackupsLeased, (*room).leased),
		stage.On(topics.ExtentsClosed, (*room).closed),
		stage.Emits[*room](topics.ExtentsExported.Spec),
		stage.Emits[*room](topics.FilesExported.Spec),
		stage.Emits[*room](topics.ExportsEnded.Spec),
		stage.Every(tickEvery, (*room).tick),
	)
}

func (s *shared) buf() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.bufs); n > 0 {
		b := s.bufs[n-1]
		s.bufs = s.bufs[:n-1]
		return b
	}
	return make([]byte, bufBytes(s.extentBytes, int64(s.deps.Grid)))
}

func (s *shared) giveBack(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bufs = append(s.bufs, b)
}
