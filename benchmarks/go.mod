// Our hot paths beside their peers and their physical limits, in a module of its own so that users
// of the library do not inherit the peers.
module github.com/inovy/hardening/benchmarks

go 1.26.0

replace github.com/inovy/hardening => ../

require (
	github.com/inovy/hardening v0.0.0-00010101000000-000000000000
	github.com/unrolled/secure v1.17.0
	golang.org/x/perf v0.0.0-20260908200009-22c9c6c9d4da
)

require github.com/aclements/go-moremath v0.0.0-20210112150236-f10218a38794 // indirect
