package session

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// Info is what a user may be told of one of their sessions.
type Info struct {
	// Handle names the session, for RevokeOne, and in records. It is no
	// credential and tells nothing of the id. It changes with the primary key.
	Handle string
	// Current says that it is the session of the request.
	Current bool
	// AuthTime is when the user logged in.
	AuthTime time.Time
	// Expires is when the session ends if it is not used again.
	Expires time.Time
	// AAL, Methods and Device are what Login was given.
	AAL     int
	Methods []string
	Device  string
}

// Stored is everything that is kept of one session.
type Stored[Data any] struct {
	Info
	Data Data
}

// List returns the sessions of user, the newest first (ASVS v5.0.0-7.5.2).
// Check that the user is the one who asks, or an administrator. Errors:
// [ErrInvalid], [ErrUnavailable], and [ErrNotKept] with a [CookieStore].
func (m *Manager[Data]) List(ctx context.Context, user string) ([]Info, error) {
	all, err := m.ExportUser(ctx, user)
	var infos []Info
	for _, s := range all {
		infos = append(infos, s.Info)
	}
	return infos, err
}

// ExportUser returns everything that the room keeps about user, for the right
// of access (GDPR article 15). What the index of a store has lost is left out.
// Errors: those of List.
func (m *Manager[Data]) ExportUser(ctx context.Context, user string) ([]Stored[Data], error) {
	s := m.state(ctx)
	entries, keys, err := m.core.list(ctx, s, user)
	if err != nil {
		return nil, err
	}
	var all []Stored[Data]
	for _, e := range entries {
		c, err := decode(keys, e.Ref, e.Record.Blob, m.core.sealed())
		if err != nil || c.user != user {
			continue // not ours, or it would not open as a session either
		}
		out := Stored[Data]{Info: Info{
			Handle: keys.keys[0].nameOf(e.Ref), Current: s.holds(e.Ref),
			AuthTime: c.began, Expires: e.Record.Expires,
			AAL: c.aal, Methods: c.methods, Device: c.device,
		}}
		if c.data != nil && json.Unmarshal(c.data, &out.Data) != nil {
			var zero Data // as in Session.Data
			out.Data = zero
		}
		all = append(all, out)
	}
	slices.SortFunc(all, func(a, b Stored[Data]) int { return b.AuthTime.Compare(a.AuthTime) })
	return all, nil
}

// EraseUser ends every session of user and removes what was kept of them, for
// the right to erasure (GDPR article 17), and returns how many there were. What
// stays, for at most Policy.Absolute, is a mark under a keyed hash of the user
// id, without which a request under way could bring a session back. Where a store
// outside this process has lost its index of the user, the sealed records of those
// sessions stay until their cookie is sent again or they expire; they open nothing. Records that went to Audit
// are not the room's to erase. Errors: those of RevokeUser.
func (m *Manager[Data]) EraseUser(ctx context.Context, user string) (int, error) {
	return m.core.revokeUser(ctx, m.state(ctx), user, "erasure")
}

func (m *core) list(ctx context.Context, s *state, user string) ([]Entry, *keyset, error) {
	if err := checkUser(user); err != nil {
		return nil, nil, err
	}
	keys, err := m.keys.get()
	if err != nil {
		return nil, nil, s.failed(err)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	all, err := m.store.List(ctx, keys.tagsOf(user))
	if errors.Is(err, ErrNotKept) {
		return nil, nil, err
	}
	if err != nil {
		m.trouble(ctx, err)
		return nil, nil, s.failed(err)
	}
	return all, keys, nil
}

// holds says whether ref is the request's own session.
func (s *state) holds(ref Ref) bool {
	if s == nil || s.r == nil {
		return false
	}
	_ = s.load(s.r.Context()) // a request that is refused anyway holds nothing
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record != nil && s.record.ref == ref
}
