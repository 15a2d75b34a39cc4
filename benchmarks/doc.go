// Package benchmarks puts the paths that every request takes beside their
// peers and beside a physical limit written by hand, and holds them to
// budgets. It is a module of its own: users of the library never link a peer.
//
//	go run ./report                       all of them, five interleaved rounds
//	go run ./report -run 'Headers|Chain'  some of them
//	go test -bench Session/read           one, as usual
//
// Every benchmark is called Benchmark<Room>/<case>/<implementation>. The
// implementations of one case do the same work on the same request with the
// same kind of response writer, and each rig says in a comment what it leaves
// out. "hardening" is this library, "limit" the least code that does the work
// safely, "bare" the work without any protection, "handwritten" what a careful
// team would write itself, "peers" several peers together; any other word is
// one peer.
//
// Times differ between machines, ratios hardly do: budgets.json holds ratios
// of two implementations in one interleaved run, and counts (allocations, round
// trips), never times.
package benchmarks

import _ "embed"

// Budgets is budgets.json, as the report reads it.
//
//go:embed budgets.json
var Budgets []byte
