#!/bin/sh
# Breaks the runner once per mutant, in a copy, and wants the tests to fail.
# SEEDS says how many seeds each gets, ONLY which mutants (a part of the name).
# Exit 0 only if every mutant is caught.
cd "$(dirname "$0")/../.." || exit 2
: "${SEEDS:=20}"; export SEEDS
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT; bad=0
mutant() { # name, file, old, new
	case "$1" in *"$ONLY"*) ;; *) return ;; esac
	rm -rf "$tmp/m"; mkdir -p "$tmp/m/libs"; cp -r go.mod go.sum schemas topics "$tmp/m"; cp -r libs/stage libs/watch "$tmp/m/libs"
	python3 - "$tmp/m/libs/stage/$2" "$3" "$4" <<'P' || exit 2
import sys
p, old, new = sys.argv[1:]
s = open(p).read()
assert s.count(old) == 1, (p, old, s.count(old))
open(p, 'w').write(s.replace(old, new))
P
	(cd "$tmp/m" && timeout 170 go test -tags synctests -timeout 160s ./libs/stage >"$tmp/out" 2>&1) && { echo "SURVIVED $1"; bad=1; return; }
	grep -q 'build failed\|vet:' "$tmp/out" && { echo "BROKEN   $1"; cat "$tmp/out"; bad=1; return; }
	echo "caught   $1: $(grep -c -- '--- FAIL: .*seed=' "$tmp/out") seeds; $(grep -o '_test.go:.*\|test timed out\|^panic: .*' "$tmp/out" | head -1 | cut -c1-110)"
}

mutant 'commit past a hold' ledger.go 'l.open[0].left == 0' 'l.open[0].left <= len(l.open[0].holds)'
mutant 'hold done before its emit is acknowledged' hold.go '	h.mem.emit(h.mem.life, h.mem.records(events, from), func(err error) {
		for _, it := range items {
			it.settle(h, err)
		}
	})' '	for _, it := range items {
		it.settle(h, nil)
	}
	h.mem.emit(h.mem.life, h.mem.records(events, from), func(err error) {
		for _, it := range items {
			if err != nil {
				it.settle(h, err)
			}
		}
	})'
mutant 'handler done before its emit is acknowledged' life.go '	m.mem.emit(m.ctx, out, func(err error) { it.settle(nil, err) })' '	it.settle(nil, nil)
	m.mem.emit(m.ctx, out, func(error) {})'
mutant 'a lost emit is passed over' ledger.go '		it.room.Fail(err)
		return
' ''
mutant 'a put that is lost is no error' room.go '		answer <- err //' '		answer <- nil //'
mutant 'a put does not wait' room.go 'answer := make(chan error, 1)' 'answer := make(chan error, 2)
	answer <- nil'
mutant 'no recall' recall.go 'if f.table && f.seen < f.end {' 'if false {'
mutant 'whole tables are not waited for' recall.go 'if m.wholes > 0 {' 'if false {'
mutant 'a late room sees no past of a whole table' shelf.go 'm.Post(func() { s.show(m, past) })' '_ = past'
mutant 'rooms split over members' member.go 'kgo.Balancers(newNumbers())' 'kgo.Balancers(kgo.CooperativeStickyBalancer())'
mutant 'rebuild without going back' group.go '		m.cl.SetOffsets(seek)
' '		_ = seek
'
mutant 'rebuild with the tables where they were' group.go '				from = 0
' '				from = -1
'
mutant 'a failed attempt keeps its holds' life.go '	default:
		in.void()
' '	default:
'
mutant 'a hollow tail is waited for' recall.go 'm.probe(map[*feed]int64{})' ''
mutant 'a pause outlives its room' feed.go '		cl.ResumeFetchPartitions(f.parts())' '		_ = cl'
mutant 'a bad row is passed over' recall.go '			f.bad[string(rec.Key)] = badRow(rec, err)' ''
mutant 'a bad row has no cure' recall.go '		delete(f.bad, string(rec.Key))
' ''
mutant 'a bad row of a whole table is passed over' shelf.go '		if w.err != nil {
			m.Fail(w.err)
			return
		}
' '		if w.err != nil {
			continue
		}
'
mutant 'committed runs before the commit' ledger.go 'l.done[0].offset < floor' 'true'
mutant 'committed is forgotten when the room is gone' life.go '	for _, f := range owed {
		f()
	}
	if m.body' '	_ = owed
	if m.body'
mutant 'a block has no intent' block.go '	if f.intent < 0 {
		if err' '	if false {
		if err'
mutant 'an intent is not looked for' recall.go '	m.intents()
' ''
mutant 'a rebuild puts the bounds away' group.go 'place{f.floor, f.sent, f.done}' 'place{f.floor, -1, f.done}'
mutant 'a rebuild forgets what is covered' group.go 'place{f.floor, f.sent, f.done}' 'place{f.floor, f.sent, nil}'
mutant 'a block grows over its bounds' block.go 'if b.Last < f.intent &&' 'if len(b.Records) < f.limits.Records && time.Since(b.since) < f.limits.Wait || b.Last < f.intent &&'
mutant 'a refused fault breeds faults' refuse.go '|| rec.Topic == topics.BackupsFaulted.In(r.env.Region)' ''
mutant 'a refused run is not faulted' refuse.go 'if !ok ||' 'if true || !ok ||'
mutant 'a stop waits for nothing' member.go 'm.busy() && ' 'false && '
mutant 'a stop hands out more' member.go '	m.draining.Store(true)
' ''
mutant 'a spoiled client is kept' emit.go '			m.end(fmt.Errorf("producer: %w", err))' '			_ = fmt.Sprint(err)'
mutant 'stamps are not joined' stamp.go 'own = append(o.stamps[:len(o.stamps):len(o.stamps)], own...)' ''
mutant 'the trace is dropped' stamp.go 'if len(o.trace) > 0 {' 'if false {'
mutant 'a claim on a promise is dropped' block.go '			f.intent = f.promised.last
' ''
exit $bad
