package scheduler

import "time"

// Limits of the scheduler, with their arithmetic.
type Limits struct {
	// Silence is how long an attempt may be without progress. Progress comes
	// with each filed page, and each 30 s while the exporter reads or waits for a
	// limit of ours, so 15 min is far beyond a slow disk, and short
	// enough that a lost export does not keep its slots for a night.
	Silence time.Duration `yaml:"silence"`
	// Cap is how long one attempt may take in all: 20 TB at 80 MB/s is 70 h.
	// An epoch cannot close before its attempts have ended.
	Cap time.Duration `yaml:"cap"`
	// Retell is when a word is said again while its answer is missing.
	Retell time.Duration `yaml:"retell"`
	// Attempts that count, after which a backup has failed: with the backoff
	// between them they span at least 75 s, and an hour of silences.
	Attempts uint32 `yaml:"attempts"`
}

// Config of both stages, the scheduler and its intake.
type Config struct {
	Limits `yaml:",inline"`
	// Listing is how long the intake lets a request that means nothing yet wait
	// for sources that were never listed: a big vCenter takes half a minute.
	Listing time.Duration `yaml:"listing"`

	// Vault is the name of the region's: policies that name another are not for it.
	Vault string `yaml:"-"`
	// Dues counts what became of times at which policies wanted something. May be nil.
	Dues func(outcome string, n int) `yaml:"-"`
	// Gauge shows the limits of each source, and what is used. May be nil.
	Gauge Gauge `yaml:"-"`
}

// Default holds for any size of house.
func Default() Config {
	return Config{Limits: Limits{Silence: 15 * time.Minute, Cap: 72 * time.Hour, Retell: time.Hour, Attempts: 5}, Listing: time.Minute}
}
