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
// failed write or sync stops the log: [Log.Healthy] and Config.ErrorLog say so,
// and every Record fails from then on.
//
// # Threat model
//
// Whoever can write to the files but does not have the key can change nothing,
// nor remove, add, swap or move a record, unseen: Verify names the line. They
// can remove the newest records together with their checkpoints; a busy log
// gives that away by its age (VerifyOptions.MaxAge). Whoever also has the
// signing key can write another history: keep KeyFile apart. A crash costs
// what was not acknowledged, and that is counted. Attackers who choose names,
// addresses or reasons can neither forge a line or a field nor hide one. The
// redactor knows published shapes and names; a secret under an innocent name,
// in a shape of its own, or logged as a number, it can not know.
package auditlog
