package session

import (
	"context"
	"errors"
	"time"
)

// Tag keeps the sessions of one user together: a keyed hash of the user id, or
// random bytes for an anonymous session. A store that is spread over nodes may
// place records by it. Stores never learn a user id.
type Tag [8]byte

// Ref names a record: the user's tag, and the SHA-256 of the session id. A
// store never learns an id.
type Ref struct {
	Tag  Tag
	Hash [32]byte
}

// Record is what a store keeps. Neither side writes to Blob after handing it
// over, so it may be kept and returned without copying.
type Record struct {
	// Version is 1 after Create, and one more after each Update.
	Version uint64
	// Born is when the login began, or the anonymous session. Microseconds.
	Born time.Time
	// Expires is when the record ends if nothing happens. Microseconds.
	Expires time.Time
	// Anonymous records may be dropped first by a store that is full.
	Anonymous bool
	// Blob is opaque to the store.
	Blob []byte
}

// Quota bounds how many live records a tag may have. The zero value bounds
// nothing.
type Quota struct {
	// Max is the bound, or 0.
	Max int
	// Deny refuses the record that is one too many. Otherwise the tag's oldest
	// ones make room.
	Deny bool
}

// Revocation ends the records of tags.
type Revocation struct {
	// Tags are whose records end: one for each key in force.
	Tags []Tag
	// Keep, if it is not the zero Ref, is the one record that stays.
	Keep Ref
	// At is the moment from which on a login counts as later. If the revocation
	// takes effect after it, it is the moment of that.
	At time.Time
	// Until is how long the mark stays.
	Until time.Time
}

// Entry is a record together with its name.
type Entry struct {
	Ref    Ref
	Record Record
}

// Store keeps records. It is the place where an end is final: a record that is
// gone stays gone, because only Create makes one, and the room calls Create
// with a new random id each time.
//
// Every method is atomic (Revoke and List for each tag), safe for concurrent
// use, and returns an error of its own (not one of those named below) when it
// could not do its work or does not know whether it did. A record is gone when
// it was deleted, revoked, dropped, or when its Expires is not after the
// present. Package storetest checks all of this for any Store.
//
// A store may take the time by its own clock: then Born means how long before
// the call, and comes back within what the clocks differ.
type Store interface {
	// Load returns the record. ErrNotFound: it is gone.
	Load(ctx context.Context, ref Ref) (Record, error)

	// Create keeps a new record with Version 1, whatever rec.Version says, and
	// returns the records that were dropped for the quota. ErrExists: there is
	// one already. ErrRevoked: rec.Born is before its tag's revocation mark.
	// ErrTooMany: the tag has as many as the quota allows. ErrFull: there is no
	// room.
	Create(ctx context.Context, ref Ref, rec Record, q Quota) (dropped []Ref, err error)

	// Update replaces Blob and Expires, and nothing else, of a record whose
	// Version is rec.Version. ErrNotFound: it is gone. ErrConflict: it has
	// another version.
	Update(ctx context.Context, ref Ref, rec Record) error

	// Touch moves Expires; it never moves it backwards, and leaves Version
	// alone. ErrNotFound: the record is gone.
	Touch(ctx context.Context, ref Ref, expires time.Time) error

	// Delete ends the record and returns what it held. ErrNotFound: it was
	// gone before.
	Delete(ctx context.Context, ref Ref) (Record, error)

	// List returns the live records of the tags, in any order. An index that
	// lost some may leave them out.
	List(ctx context.Context, tags []Tag) ([]Entry, error)

	// Revoke ends every record of the tags that there is, but Keep, and
	// returns how many. It leaves a mark on each tag, kept until r.Until: what
	// was Born before the mark can neither be created nor loaded, so that a
	// login under way cannot outlive the revocation, and neither can a record
	// that an index forgot. Marks only move forward; Keep counts as Born at
	// the mark.
	Revoke(ctx context.Context, r Revocation) (int, error)

	// RevokeAll does the same to every record of every tag.
	RevokeAll(ctx context.Context, at, until time.Time) error
}

// Watcher is a Store that notices the end of a record at once. [Session.Done]
// uses it.
type Watcher interface {
	// Watch returns a channel that is closed when the record is gone, at once
	// if it is gone already. stop releases what the watch holds; the caller
	// calls it once.
	Watch(ref Ref) (gone <-chan struct{}, stop func())
}

// Errors of a [Store]. Compare with errors.Is.
var (
	ErrNotFound = errors.New("session: no such record")
	ErrExists   = errors.New("session: the record exists already")
	ErrConflict = errors.New("session: the record has another version")
	ErrTooMany  = errors.New("session: the user has too many sessions")
	ErrFull     = errors.New("session: the store is full")
)

// Ender remembers which sessions ended before their time, for a [CookieStore],
// whose sessions are not kept anywhere. [MemoryStore] and redissession.Store
// are such. Every method is atomic (Revoke for each tag) and safe for
// concurrent use.
//
// Each session has a stamp: a moment by the Ender's own clock, in microseconds,
// which the cookie carries. What was stamped before the Ender's memory begins
// has ended, because nobody can know any more that it has not: so a store that
// was flushed, or a process that began anew, lets no session come back that was
// logged out.
type Ender interface {
	// Begin stamps a session whose login began at born, and keeps what is needed
	// to tell until then whether it ended. ErrRevoked: born is before its tag's
	// or everyone's revocation mark.
	Begin(ctx context.Context, ref Ref, born, until time.Time) (stamp time.Time, err error)

	// End remembers until then that the session ended. ErrNotFound: it was ended
	// before; it stays so until the later of the two times. ErrFull: there is no
	// room.
	End(ctx context.Context, ref Ref, until time.Time) error

	// Ended says whether the session was ended, or was stamped before its tag or
	// everyone was revoked, or before the Ender's memory begins.
	Ended(ctx context.Context, ref Ref, stamp time.Time) (bool, error)

	// Revoke and RevokeAll are those of a [Store]. They end everything that was
	// stamped before they took effect, whenever r.At was. Revoke ignores r.Keep.
	Revoke(ctx context.Context, r Revocation) (int, error)
	RevokeAll(ctx context.Context, at, until time.Time) error

	// Spare revokes r.Keep.Tag, and in the same step stamps r.Keep anew, as Begin
	// does. ErrNotFound: Keep has ended; then nothing happens.
	Spare(ctx context.Context, r Revocation, stamp, until time.Time) (anew time.Time, err error)
}
