// Package hardening holds the words that all rooms of the library share: the
// [Environment] a service runs in, configuration faults ([ConfigError]),
// the findings a room reports about itself ([Finding]), refusals
// ([Problem], RFC 9457), and the [Edge] that decides who the client is.
//
// Each room is a package of its own and useful alone: headers, ratelimit,
// session, secrets, auditlog, tlsconfig. They have one shape:
//
//	m, err := headers.New(headers.Config{}) // the zero value is the secure default
//	h := m.Wrap(mux)                        // func(http.Handler) http.Handler
//	fs := m.Check()                         // []hardening.Finding, passes included
//
// Wrap in this order, outermost first: [Edge], headers (Wrap, Recover,
// Isolation), sessions, limits, and access logging per route inside the mux.
//
// # Configuration
//
// A zero field means its documented default. A non-zero struct, slice or map is
// taken whole and never merged with the default. What weakens a room is named
// Dangerously... and makes a failing [Finding]. New reports every fault of a
// Config at once; walk them with [Faults].
//
// # Threat model
//
// The peer of a connection is a client until its address is listed in
// [EdgeConfig.TrustedProxies]: what it says about another address, scheme,
// host or request id is ignored. A trusted proxy is believed only about the
// hop before it. Errors and findings never carry secret values.
package hardening
