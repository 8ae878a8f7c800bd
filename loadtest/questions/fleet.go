package main

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/schemas"
)

// fleet is machines that are backed up once a day, each at its own minute of it, or
// more often: see multiply. All of it is a function of the seed, so that whoever asks knows what there is to
// ask for, and a test what the answer is.
type fleet struct {
	Seed     uint64    `json:"seed"`
	Machines int       `json:"machines"`
	Days     int       `json:"days"`    // whose places and stages are there
	History  int       `json:"history"` // days whose backups are there
	Rows     int       `json:"rows"`    // places of a usual backup
	Copies   int       `json:"copies"`  // backups a day
	Now      time.Time `json:"now"`
}

const (
	regions = 2
	sources = 4 // vCenters; each is of one region
	rooms   = 64

	runTime   = 10 * time.Minute // of a backup
	queueTime = 20 * time.Minute // before it
	day       = 24 * time.Hour

	grid       = 64 << 10
	recordRows = 128 // places of one record
	packChunks = 320 // 16 MiB of them, at 2:1
	fullTimes  = 5   // a full backup has so many times the places
	fullEvery  = 40  // one in so many is full
	badEvery   = 60  // one machine in so many has failed for badDays
	failEvery  = 50  // one backup in so many fails
	golden     = 2e5 // chunks of the image that all machines came from
	hot        = 10  // chunks that every backup has cut again: a journal's, a log's
	badDays    = 3
)

// rowsFor is how many places a usual backup has where all have n together.
func (f *fleet) rowsFor(n int) int {
	return max(hot+1, n*fullEvery/(fullEvery+fullTimes-1)/f.Machines/f.Days/max(1, f.Copies))
}

// hash is the fleet's only dice.
func (f *fleet) hash(parts ...uint64) uint64 {
	h := f.Seed
	for _, p := range parts {
		h += p + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// Salts of hash.
const (
	ofBackup = iota + 1
	ofLease
	ofPack
	ofChunk
	ofPlace
	ofTime
	ofEnd
	ofFull
)

func (f *fleet) id(parts ...uint64) (u schemas.UUID) {
	binary.BigEndian.PutUint64(u[:8], f.hash(parts...))
	binary.BigEndian.PutUint64(u[8:], f.hash(append(parts, 1)...))
	return u
}

func (f *fleet) source(m int) int { return m % sources }

func (f *fleet) region(m int) string { return fmt.Sprint("region-", f.source(m)%regions) }

func (f *fleet) machine(m int) ledger.Machine {
	return ledger.Machine{Source: fmt.Sprint("vcenter-", f.source(m)), ID: fmt.Sprintf("5021b1c0-%06d", m), Name: fmt.Sprintf("app-%05d", m)}
}

// run is one backup: of machine m, so many days ago. Those of day -1 are queued.
type run struct {
	*fleet
	m, day int
	begins time.Time
}

func (f *fleet) run(m, d int) run {
	offset := day * time.Duration(m) / time.Duration(f.Machines)
	return run{f, m, d, f.Now.Add(-time.Duration(d)*day - offset).Truncate(time.Millisecond)}
}

func (r run) key() (machine, day uint64) { return uint64(r.m), uint64(r.day + 1) }

func (r run) attempt() ledger.Attempt {
	m, d := r.key()
	return ledger.Attempt{Backup: r.id(ofBackup, m, d), No: 1, Lease: r.id(ofLease, m, d)}
}

func (r run) full() bool {
	m, d := r.key()
	return r.hash(ofFull, m, d)%fullEvery == 0
}

func (r run) fails() bool {
	m, d := r.key()
	return r.m%badEvery == 7 && r.day < badDays || r.hash(ofEnd, m, d)%failEvery == 0
}

func (r run) ended() bool { return !r.begins.Add(r.took()).After(r.Now) }

// took is from lease to end: a minute in ten more or less, and twice of a full.
func (r run) took() time.Duration {
	m, d := r.key()
	t := runTime*9/10 + time.Duration(r.hash(ofTime, m, d))%(runTime/5)
	if t < runTime*9/10 {
		t += runTime / 5
	}
	if r.full() {
		t *= 2
	}
	return t.Truncate(time.Millisecond)
}

// places says how many it cuts.
func (r run) places() int {
	switch {
	case r.full():
		return r.Rows * fullTimes
	case r.fails():
		return r.Rows / 2
	}
	return r.Rows
}

// at is when a share of it was done.
func (r run) at(done, of int) time.Time {
	return r.begins.Add(r.took() * time.Duration(done) / time.Duration(of)).Truncate(time.Millisecond)
}

// origin of a record of this backup: parts and offsets are unique to it.
func (r run) origin(topic string, at time.Time, n int) ledger.Origin {
	m, d := r.key()
	return ledger.Origin{AtMs: at.UnixMilli(), Region: r.region(r.m), Topic: topic, Part: uint16(r.hash(ofBackup, m, d) % rooms),
		Offset: uint64((r.History-r.day)*r.Machines+r.Machines-r.m)<<20 + uint64(n)}
}
