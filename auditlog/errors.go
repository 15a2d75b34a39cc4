package auditlog

import "errors"

const room = "auditlog"

// Errors of the log, for errors.Is.
var (
	// ErrInvalidEvent is returned by [Log.Record] for an event that lacks a
	// mandatory field or has an impossible one. [hardening.Faults] lists them.
	ErrInvalidEvent = errors.New("auditlog: the event is not valid")
	// ErrClosed is returned after [Log.Close].
	ErrClosed = errors.New("auditlog: the log is closed")
	// ErrFailed is returned by every Record after a write that could not be
	// made durable, and wraps its cause. Nothing is retried: after a failed
	// fsync nobody knows what is on the disk. Open the log again.
	ErrFailed = errors.New("auditlog: the log has stopped")
	// ErrBusy is returned by [Log.Record] if the disk does not keep up: too many
	// records wait for it, or in the Bounded mode this one did for too long.
	ErrBusy = errors.New("auditlog: the disk does not keep up")
	// ErrNotReplicated is returned by [Log.Record] if the event is on this disk
	// and the replica did not take it. The log goes on, and sends it again.
	ErrNotReplicated = errors.New("auditlog: the replica did not take the record")
	// ErrNoRecord is returned by [Prove] for a number that no record has, or has
	// any more.
	ErrNoRecord = errors.New("auditlog: there is no such record")
	// ErrAnchor is returned by [Verify] for a [VerifyOptions].Anchor that is no
	// checkpoint of the log.
	ErrAnchor = errors.New("auditlog: the anchor is no checkpoint of this log")
	// ErrLocked is returned by [Open] while another process has the log open.
	ErrLocked = errors.New("auditlog: another writer has this log open")
	// ErrTampered is returned by [Open] if what stands in the log was not
	// written by it, and by [Log.Record] if the live file was removed,
	// truncated or replaced.
	ErrTampered = errors.New("auditlog: the log was changed from outside")
	// ErrKey is returned by [Open] if the signing key is missing, unreadable
	// or of another log.
	ErrKey = errors.New("auditlog: the key is missing, malformed or not of this log")
)
