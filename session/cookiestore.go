package session

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gorilla/securecookie"

	"github.com/inovy/hardening/internal/faults"
	"github.com/inovy/hardening/internal/text"
)

// CookieStoreConfig configures a [CookieStore].
type CookieStoreConfig struct {
	_ [0]func()

	// Ended remembers which sessions ended before their time: a [MemoryStore],
	// for a service of one process, whose sessions then end with it, or a
	// redissession.Store that all nodes share. nil is a fault: without it a
	// logout would end nothing.
	Ended Ender
}

// CookieStore lets each session travel in its own cookie, encrypted and
// authenticated by gorilla/securecookie, instead of keeping it. What is kept is
// only which sessions ended before their time. It is for services that have no
// store to keep sessions in; it is weaker than one:
//
//   - Of two requests that change the session at the same time, the later
//     response wins; there is no compare-and-swap.
//   - A cookie that was copied shows an older state of its session when it is
//     sent again, until the session ends. Keep nothing in Data that must not
//     go back.
//   - An anonymous session that became a login can still be sent as what it was.
//   - If Ended loses its memory, by a restart or a flush, all sessions end.
//   - Done is closed when the session expires, not when it is revoked.
//   - List, RevokeOne and ExportUser return [ErrNotKept]; MaxPerUser cannot be
//     held.
//   - Data has room for some 1.5 kB ([ErrTooLarge]).
//
// A session that was logged out, renewed or revoked stays dead: each request
// that asks for its session asks Ended. Check reports all of this.
type CookieStore struct{ ends Ender }

// NewCookieStore returns a CookieStore, or the faults of cfg.
func NewCookieStore(cfg CookieStoreConfig) (*CookieStore, error) {
	c := faults.For("session")
	if cfg.Ended == nil {
		c.Missing("CookieStoreConfig.Ended", "is nil, so that a logout would end nothing", "pass a store from NewMemoryStore, or a redissession.Store that all nodes share")
	} else if !c.NilInside("CookieStoreConfig.Ended", cfg.Ended, "pass a store that was made") {
		if m, ok := cfg.Ended.(*MemoryStore); ok && m.max == 0 {
			c.Missing("CookieStoreConfig.Ended", "is a MemoryStore that NewMemoryStore did not make", "use session.NewMemoryStore")
		}
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &CookieStore{ends: cfg.Ended}, nil
}

var errOutside = errors.New("session: a CookieStore works inside a Manager only")

var _ Store = (*CookieStore)(nil)

// Load is of no use outside a [Manager], as are Create, Update, Touch and Delete.
func (*CookieStore) Load(context.Context, Ref) (Record, error) { return Record{}, errOutside }

// Create is of no use outside a [Manager].
func (*CookieStore) Create(context.Context, Ref, Record, Quota) ([]Ref, error) {
	return nil, errOutside
}

// Update is of no use outside a [Manager].
func (*CookieStore) Update(context.Context, Ref, Record) error { return errOutside }

// Touch is of no use outside a [Manager].
func (*CookieStore) Touch(context.Context, Ref, time.Time) error { return errOutside }

// Delete is of no use outside a [Manager].
func (*CookieStore) Delete(context.Context, Ref) (Record, error) { return Record{}, errOutside }

// List returns [ErrNotKept].
func (*CookieStore) List(context.Context, []Tag) ([]Entry, error) { return nil, ErrNotKept }

// Revoke leaves the marks, and counts nothing.
func (c *CookieStore) Revoke(ctx context.Context, r Revocation) (int, error) {
	_, err := c.ends.Revoke(ctx, r)
	return 0, err
}

// RevokeAll leaves the mark.
func (c *CookieStore) RevokeAll(ctx context.Context, at, until time.Time) error {
	return c.ends.RevokeAll(ctx, at, until)
}

// inCookie keeps a request's record in its cookie.
type inCookie struct{ *state }

func (c inCookie) live(ctx context.Context, ref Ref) error {
	ended, err := c.core.cookies.ends.Ended(ctx, ref, c.carried.Born)
	switch {
	case err != nil:
		return err
	case ended:
		return ErrNotFound
	}
	return nil
}

func (c inCookie) Load(ctx context.Context, ref Ref) (Record, error) {
	return c.carried, c.live(ctx, ref)
}

func (c inCookie) Create(ctx context.Context, ref Ref, rec Record, _ Quota) ([]Ref, error) {
	if err := c.room(len(rec.Blob)); err != nil {
		return nil, err
	}
	stamp, err := c.core.cookies.ends.Begin(ctx, ref, rec.Born, c.core.markUntil(rec.Born))
	if err != nil {
		return nil, err
	}
	rec.Version, rec.Born = 1, stamp
	c.carried = rec
	return nil, nil
}

// spare ends all sessions of the user but this one, with op held. Its error is
// ErrNotFound if this one has ended; then no other has.
func (c inCookie) spare(ctx context.Context, r Revocation) error {
	until := c.core.markUntil(r.At)
	stamp, err := c.core.cookies.ends.Spare(ctx, r, c.carried.Born, until)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.carried.Born, c.issue = stamp, true
	c.mu.Unlock()
	rest := r
	rest.Keep, rest.Tags = Ref{}, slices.DeleteFunc(slices.Clone(r.Tags), func(t Tag) bool { return t == r.Keep.Tag })
	_, err = c.core.cookies.ends.Revoke(ctx, rest)
	return err
}

func (c inCookie) Update(ctx context.Context, ref Ref, rec Record) error {
	if err := c.live(ctx, ref); err != nil {
		return err
	}
	if err := c.room(len(rec.Blob)); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.carried.Blob, c.carried.Expires = rec.Blob, rec.Expires
	c.issue = true
	return nil
}

// Touch has no more to do: fetch, which calls it with mu held, has asked
// whether the session is alive.
func (c inCookie) Touch(_ context.Context, _ Ref, expires time.Time) error {
	c.carried.Expires = expires
	c.issue, c.again = true, true
	return nil
}

func (c inCookie) Delete(ctx context.Context, ref Ref) (Record, error) {
	if err := c.live(ctx, ref); err != nil {
		return Record{}, err
	}
	if c.carried.Anonymous {
		return c.carried, nil // it opens nothing, and must not fill the list
	}
	// Another copy may have been used since and say that it expires later.
	until := c.carried.Expires
	if read, err := parseContent(c.carried.Blob); err == nil && read.began.Add(c.core.cfg.Policy.Absolute).After(until) {
		until = read.began.Add(c.core.cfg.Policy.Absolute)
	}
	return c.carried, c.core.cookies.ends.End(ctx, ref, until)
}

// The value of a cookie that holds its session, format 1, is
//
//	key id   6 characters, base64url of the 4 bytes of the key's id
//	"."
//	sealed   gorilla/securecookie under that key and the cookie's name
//
// and what is sealed, numbers big-endian:
//
//	token    45 bytes  a session cookie's value without its MAC: version, key of the login, tag, id
//	stamp     8 bytes  the Ender's, of the login or the last RevokeOthers, unix microseconds
//	expires   8 bytes  unix microseconds
//	blob               format 1 or 3 of a record
//
// A value opens as long as the key of its login is in force: only then can
// RevokeUser find its tag. Test vectors are in testdata and kept for ever.
const (
	cookieKeyID = 6
	cookieFixed = macAt + 8 + 8
	maxCookie   = 4096 // bytes of name and value (RFC 6265bis section 5.6)
)

// codec is a securecookie of this key. Its setters are not safe for concurrent
// use, so it is made once.
func newCodec(mac, enc []byte) (*securecookie.SecureCookie, error) {
	c := securecookie.New(mac, enc).SetSerializer(securecookie.NopEncoder{})
	c.MaxAge(int(cookieLifetimeCap / time.Second)) // the real limits are inside
	c.MaxLength(maxCookie)
	// securecookie tells what is wrong with its keys at the first use.
	sealed, err := c.Encode("self-test", []byte{1})
	if err != nil {
		return nil, err
	}
	var out []byte
	return c, c.Decode("self-test", sealed, &out)
}

// sealCookie makes the value of a cookie that holds its session.
func sealCookie(k *key, name string, tok token, rec Record) string {
	// securecookie encrypts in place, so this buffer is its own.
	b := make([]byte, 0, cookieFixed+len(rec.Blob))
	b = append(b, tok[:macAt]...)
	b = binary.BigEndian.AppendUint64(b, uint64(rec.Born.UnixMicro()))
	b = binary.BigEndian.AppendUint64(b, uint64(rec.Expires.UnixMicro()))
	b = append(b, rec.Blob...)
	sealed, err := k.cookie.Encode(name, b)
	if err != nil { // too large, which fits has ruled out
		return ""
	}
	return base64url.EncodeToString(k.id[:]) + "." + sealed
}

// cookieSize is how long sealCookie's value is for a blob.
func cookieSize(blob int) int {
	inner := base64.URLEncoding.EncodedLen(16 + cookieFixed + blob)
	return cookieKeyID + 1 + base64.URLEncoding.EncodedLen(10+1+inner+1+32)
}

// fits says whether data fits where the session is kept. Its error is
// ErrTooLarge.
func (s *state) fits(data []byte) error {
	if most := s.core.cfg.MaxDataBytes; len(data) > most {
		return fmt.Errorf("%w: %d bytes of JSON, and Config.MaxDataBytes is %d", ErrTooLarge, len(data), most)
	}
	if s.core.cookies == nil {
		return nil
	}
	c := s.content
	c.data = data
	return inCookie{s}.room(c.size())
}

func (c inCookie) room(blob int) error {
	name, _ := c.core.names.of(c.r)
	if n := len(name) + cookieSize(blob); n > maxCookie {
		return fmt.Errorf("%w: a cookie of %d bytes, and browsers keep %d", ErrTooLarge, n, maxCookie)
	}
	return nil
}

// openCookie reads a value. It touches no store.
func openCookie(s *keyset, name, value string) (token, Record, verdict) {
	var tok token
	if len(name)+len(value) > maxCookie || len(value) < cookieKeyID+1 || value[cookieKeyID] != '.' {
		return tok, Record{}, foreign
	}
	id, err := base64url.DecodeString(value[:cookieKeyID])
	if err != nil || len(id) != keyIDSize {
		return tok, Record{}, foreign
	}
	k := s.byID(id)
	if k == nil {
		return tok, Record{}, foreign
	}
	// securecookie reads several spellings of one value.
	sealed := value[cookieKeyID+1:]
	if _, err := base64.URLEncoding.Strict().DecodeString(sealed); err != nil || text.HasLineBreak(sealed) {
		return tok, Record{}, foreign
	}
	var b []byte
	if k.cookie.Decode(name, sealed, &b) != nil {
		return tok, Record{}, forged
	}
	if len(b) < cookieFixed || b[0] != tokenVersion || s.byID(b[1:tagAt]) == nil {
		return tok, Record{}, foreign
	}
	copy(tok[:], b[:macAt])
	born, expires := binary.BigEndian.Uint64(b[macAt:]), binary.BigEndian.Uint64(b[macAt+8:])
	if born > math.MaxInt64 || expires > math.MaxInt64 {
		return tok, Record{}, foreign
	}
	c, err := parseContent(b[cookieFixed:])
	if err != nil {
		return tok, Record{}, foreign
	}
	return tok, Record{
		Version: 1, Born: time.UnixMicro(int64(born)), Expires: time.UnixMicro(int64(expires)),
		Anonymous: c.user == "", Blob: b[cookieFixed:],
	}, genuine
}

// stale says whether the cookie was sealed by a key that is not the primary
// one any more.
func stale(s *keyset, value string) bool {
	return value[:cookieKeyID] != base64url.EncodeToString(s.keys[0].id[:])
}
