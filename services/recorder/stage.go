package recorder

import (
	"cmp"
	"context"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/topics"
)

const stageName = "recorder"

// Config of the recorder. An insert costs the ledger the same for one row or a
// thousand: fifteen files for each table that it comes into, and their merges, 3 to 5
// ms of CPU. So a block waits for more.
type Config struct {
	// NewsWait is how old a backup's turn or its progress may get on its way: people
	// wait for these. Default 2 s: at most 2 x rooms inserts in that time.
	NewsWait time.Duration `yaml:"news_wait"`
	// PlacesWait is the same for what became of places, which are most of the rows.
	// Default 5 s: at most one insert a room in that time, or one for each 25,000 places.
	PlacesWait time.Duration `yaml:"places_wait"`
	// EventsWait is the same for what stages did. Default 20 s: at most 14 x rooms
	// inserts in that time, 3 a second on one machine at work and none at rest.
	EventsWait time.Duration `yaml:"events_wait"`
}

// Default is the configuration without a file.
func Default() Config {
	return Config{NewsWait: 2 * time.Second, PlacesWait: 5 * time.Second, EventsWait: 20 * time.Second}
}

const (
	// blockBytes bounds a block, and so what a room holds of it: 1 MiB of records
	// are 25,000 places, 3 MB as rows.
	blockBytes = 1 << 20
	// blockRecords is what a feed buffers: a block of more would wait for nothing.
	blockRecords = 2000
	// inventoryWait is how old a change of the inventory may get.
	inventoryWait = 10 * time.Second
)

// Sink is where rows go: the ledger, or one in memory.
type Sink interface {
	// Insert has rows there once when it returns nil, however often the same rows
	// come under one token. After an error they may be there. An empty token: rows
	// that may be there twice.
	Insert(ctx context.Context, token string, rows ledger.Rows) error
	// Missing returns those of rows whose record is not there.
	Missing(ctx context.Context, rows ledger.Rows) (ledger.Rows, error)
}

// Deps is what the recorder needs of the house.
type Deps struct {
	Ledger Sink
	Vault  string // its name, for the rows
	// Gauge registers a metric that is asked when somebody looks. May be nil.
	Gauge func(name, help string, value func() float64)
}

// news are streams that people wait for, ofPlaces is that of places; events are all
// others of a region.
var news, ofPlaces, events = split()

func split() (news, ofPlaces, events []topics.Spec) {
	for _, t := range topics.All() {
		switch {
		case t.Kind != topics.Stream:
		case t.Name == topics.PlacesFiled.Name:
			ofPlaces = append(ofPlaces, t)
		case t.Name == topics.BackupsLeased.Name || t.Name == topics.BackupsJudged.Name:
			news = append(news, t)
		default:
			events = append(events, t)
		}
	}
	return news, ofPlaces, events
}

// Stage copies a region's streams and inventory to the ledger.
func Stage(c Config, d Deps) stage.Stage {
	limits := func(wait, or time.Duration) stage.Limits {
		return stage.Limits{Records: blockRecords, Bytes: blockBytes, Wait: cmp.Or(wait, or)}
	}
	return stage.Define(stageName, func(env stage.Env) (func(*stage.Room) (*room, error), error) {
		late := newLate(env.Now, d.Gauge)
		return func(r *stage.Room) (*room, error) {
			m := &room{env: env, deps: d, home: r, tried: map[string]try{}, last: map[string]int64{}, late: late, found: foundRows{}}
			context.AfterFunc(r.Context(), func() { late.gone(m) })
			return m, nil
		}, nil
	},
		stage.Batch(news, limits(c.NewsWait, Default().NewsWait), (*room).take),
		stage.Batch(ofPlaces, limits(c.PlacesWait, Default().PlacesWait), (*room).take),
		stage.Batch(events, limits(c.EventsWait, Default().EventsWait), (*room).take),
		stage.Whole(topics.MachinesFound, (*room).note),
		stage.Every(inventoryWait, (*room).inventory),
	)
}
