// Package auditlog records who did what to whose data, so that nothing is lost,
// nothing can be changed unseen, and no secret is in it.
//
//	trail, err := auditlog.Open(ctx, auditlog.Config{Dir: "/var/lib/records/audit"})
//	defer trail.Close()
//	slog.SetDefault(slog.New(trail.Handler())) // events to the log, the rest redacted to stderr
//	access, err := trail.Access(auditlog.AccessConfig{Describe: describe})
//	mux.Handle("GET /patients/{id}", access.Wrap(showPatient))
//	fmt.Println(trail.VerifierKey()) // keep it elsewhere; hardening audit verify needs it
//
// [Log.Record] and the handler return when the event is on the disk under a
// signed checkpoint. [Access.Wrap] goes around each route inside the mux and
// inside authentication. [Verify] needs the public key only. [NewRedactor] is
// useful without the log, around any slog.Handler.
//
// # The log
//
// A log is a Merkle tree (RFC 6962, golang.org/x/mod/sumdb/tlog) in text files
// that only grow. Each commit writes its records and a signed C2SP checkpoint
// in one write and syncs it; callers that come meanwhile share the next one. A
// failed write or sync stops the log: [Log.Healthy], Config.ErrorLog and
// Config.OnError say so, and every Record fails from then on.
//
// The signing key changes every minute, and the old one is destroyed; each
// signs the next, so that the first public key verifies everything. What
// identifies a data subject is sealed under a key of that person's own, in a
// file of its own: back it up as long as you must be able to read whose data
// was touched, and no longer. [Log.Prune] removes what is older than
// Config.Retention, and the rest still verifies; call it once a day.
// [Log.Prove] shows one record to whoever may not see the others. Config.Anchors
// and Config.Replica keep checkpoints, or everything, elsewhere.
//
// # Threat model
//
// Whoever can write to the files but does not have the key can change nothing,
// nor remove, add, swap or move a record, unseen: Verify names the line.
// Whoever also has the key of this minute can write another history from this
// minute on, and not of the time before, and can have old records pruned before
// their time, which a record then says. Both can remove the newest records
// together with their checkpoints: an anchor tells how many are missing, a
// replica has them, and without either the log's age gives it away
// (VerifyOptions.MaxAge), because also a quiet log signs every quarter of an
// hour. Erased keys may survive in snapshots and in blocks that a disk has put
// aside. A crash costs what was not acknowledged, and that is counted.
// Attackers who choose names, addresses or reasons can neither forge a line or
// a field nor hide one. The redactor knows published shapes and names; a secret
// under an innocent name or in a shape of its own it can not know, nor a
// citizen's number that was logged as a number.
package auditlog
