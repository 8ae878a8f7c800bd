package stage

import (
	"github.com/cenkalti/backoff/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A feed rests above feedHigh records or feedBytes, and is fetched again below
// half. One poll may overshoot it, so a room buffers at most
// feeds x (feedHigh + pollMax records, or feedBytes + one fetch).
const (
	feedHigh  = 2000
	feedBytes = 16 << 20
	pollMax   = 2000
	turn      = 64 // records of one feed before the next has its turn
)

// feed is one topic of a room: what was fetched and not yet handled. Its
// room's lock guards it.
type feed struct {
	ledger
	input
	part     int32
	table    bool
	queue    []*kgo.Record
	bytes    int
	resting  bool  // paused at the client
	next     int64 // the offset that we expect to fetch, or -1
	high     int64 // the log's end, as last heard
	told     Note  // how it stood last
	patience *backoff.ExponentialBackOff
	again    *kgo.Record // in retry: it comes before the queue
	trying   trying
	item     *item // being handled
	wait     bool  // backing off

	from int64              // table: rows before it are not shown
	seen int64              // table: all rows below are in the room
	end  int64              // table: recalled when seen reaches it
	bad  map[string]*badRow // table: rows that do not decode, by key

	block    *Block // stream in blocks: the one being gathered, or in retry
	promised bounds // stream in blocks: what the last owner was about to do
}

func newFeed(topic string, part int32, table bool, at place) *feed {
	return &feed{part: part, table: table, next: at.floor, patience: patience(maxRetry),
		promised: unbound, ledger: ledger{topic: topic, floor: at.floor, sent: at.sent, intent: -1, done: at.done}}
}

// place is where a feed begins, or -1 where that is not known.
type place struct {
	floor, sent int64
	done        []covered // below floor, and perhaps not committed yet
}

var nowhere = place{floor: -1, sent: -1}

// bounds are those of a block, or -1.
type bounds struct{ first, last int64 }

var unbound = bounds{-1, -1}

func (f *feed) parts() map[string][]int32 { return map[string][]int32{f.topic: {f.part}} }

func (f *feed) push(cl *kgo.Client, recs []*kgo.Record) {
	f.queue = append(f.queue, recs...)
	for _, rec := range recs {
		f.bytes += size(rec)
	}
	f.next = recs[len(recs)-1].Offset + 1
	if !f.resting && (len(f.queue) > feedHigh || f.bytes > feedBytes) {
		f.resting = true
		cl.PauseFetchPartitions(f.parts())
	}
}

func (f *feed) pop(cl *kgo.Client) *kgo.Record {
	if rec := f.again; rec != nil {
		f.again = nil
		return rec
	}
	if len(f.queue) == 0 {
		return nil
	}
	rec := f.queue[0]
	f.queue[0] = nil
	f.queue = f.queue[1:]
	f.bytes -= size(rec)
	if f.resting && len(f.queue) < feedHigh/2 && f.bytes < feedBytes/2 {
		f.wake(cl)
	}
	return rec
}

func size(rec *kgo.Record) int { return len(rec.Key) + len(rec.Value) }

// wake must also be called when the room ends: the client remembers a pause
// across rebalances.
func (f *feed) wake(cl *kgo.Client) {
	if f.resting {
		f.resting = false
		cl.ResumeFetchPartitions(f.parts())
	}
}
