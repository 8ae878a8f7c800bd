// Package sim runs the whole house in virtual time and hurts it.
//
// Goal: whatever breaks, nothing is lost, nothing is said to be done that is not,
// and nothing stays stuck. The invariants are those of the protocols; each check
// names its number.
//
// Method: every stage of a region, in several processes, on one Kafka in memory
// (kfake) behind wires that are slow, torn, cut and frozen; targets, sources and a
// staging share that are slow, lose, lie about failure, fill up and go down; the
// ledger's fake that passes the real one's suite. In one house of four the coordinators
// serve a second region, whose workers are all down. The bytes of each machine are a
// function of its content numbers, and the source itself counts its snapshots, so
// that the judge believes no stage. A seed draws the house, the load and the
// faults. When the faults stop, the house must come to rest, back every machine up
// once more, and rest again; then all invariants are checked, from the vault and
// the key alone.
//
//	go test -tags synctests ./loadtest/sim                 the seeds of make test
//	SEEDS=20000 go test -tags synctests ./loadtest/sim     a night (make sim SEEDS=20000)
//	SEED=17 go test -tags synctests ./loadtest/sim         one seed again; LOUD=1 with all that stages say
//	FAULTS=crash,cut FROM=400 SEEDS=50 go test ...         seeds from 400 on, of these kinds of faults alone
//
// A seed replays the load and the faults, not the order of goroutines: a seed that
// failed is run many times (-count) before it is believed to be mended. What a
// failed seed prints is its faults, in order, what was left open with every word
// on it, and the last words of the stages. loadtest/mutants/sim.mutants lists guards
// that were removed, and that seeds then missed: make mutants ONLY='whole house'.
package sim
