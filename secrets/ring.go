package secrets

import (
	"crypto/hkdf"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/inovy/hardening/internal/faults"
)

// Defaults of a Ring.
const (
	defaultMaxAge     = 90 * day
	defaultGrace      = 7 * day
	defaultActivation = 10 * time.Minute
	day               = 24 * time.Hour
)

// RingConfig describes a Ring made by hand, in tests and programs that have no
// configuration to load. Services let [Load] fill a *Ring field.
type RingConfig struct {
	_ [0]func()
	// Keys is the text of the ring: "v2@2026-11-01:KEY,v1@2026-08-01:KEY", or a
	// single KEY as [Generate] returns it; one line end behind it does not count.
	// Zero is a fault.
	Keys Secret
	// Grace is how long a superseded key still opens what it sealed, counted
	// from the moment its successor became primary. Default: 7 days.
	Grace time.Duration
	// Activation is how long after its date a new key only opens, so that every
	// node of a service has it before one of them uses it. For a key that a reload
	// brings it counts from then, if that is later, and so does Grace for the one
	// before it; with an [Options.Ledger] also for a key that a restart brings. What
	// a ring holds when it is first seen is taken by its dates. It does not apply to
	// a key that is alone. Default: 10 minutes.
	Activation time.Duration
}

// Ring is a set of versioned keys that replace each other over time: one is
// primary, and the others only open what was sealed under them. A new key opens
// only, until its activation time has passed, and then becomes primary; an old
// one opens for the grace time more, and is then gone. No method returns a key
// of the ring itself, only keys derived from it for one purpose.
//
// A *Ring is what other rooms accept as their key source. All methods are safe
// for concurrent use. A nil or zero Ring, and a destroyed one, has no keys.
type Ring struct {
	opaque
	_ [0]func()
	p *atomic.Pointer[ringBox] // hidden as in Secret
}

type ringBox struct {
	grace, activation time.Duration
	view              atomic.Pointer[ringView]
	seal              sealer

	mu   sync.RWMutex // guards keys and their bytes
	keys []ringKey    // newest first; nil after Destroy
}

// ringView is what holds until the next moment at which a key becomes primary
// or retires.
type ringView struct {
	generation uint64
	next       time.Time // zero: never
	order      []int     // indices into keys: primary, newer ones, older ones
}

// NewRing returns a Ring of the keys. Its error holds every fault as
// [*hardening.ConfigError].
func NewRing(cfg RingConfig) (*Ring, error) {
	c := faults.For("secrets")
	for _, d := range []struct {
		name string
		v    time.Duration
	}{{"Grace", cfg.Grace}, {"Activation", cfg.Activation}} {
		if d.v < 0 {
			c.Add(d.name, d.v, "is negative", "leave it zero for the default")
		}
	}
	text := cfg.Keys.clone()
	defer clear(text)
	if text == nil {
		c.Missing("Keys", "holds no keys", "set it to NewSecret of a text from Generate(32)")
		return nil, c.Err()
	}
	if text = cutNewline(text); len(text) == 0 {
		c.Missing("Keys", "holds a line end and no keys", "set it to NewSecret of a text from Generate(32)")
		return nil, c.Err()
	}
	if bad := checkText(kindKey, text); bad != nil {
		c.Secret("Keys", bad.reason, bad.fix)
		return nil, c.Err()
	}
	keys, bad := parseRing(text, minKeyBits, time.Now())
	for _, b := range bad {
		c.Secret("Keys", b.reason, b.fix)
	}
	if err := c.Err(); err != nil {
		wipeKeys(keys)
		return nil, err
	}
	grace, activation := cfg.Grace, cfg.Activation
	if grace == 0 {
		grace = defaultGrace
	}
	if activation == 0 {
		activation = defaultActivation
	}
	return newRing(keys, grace, activation), nil
}

// newRing takes ownership of keys.
func newRing(keys []ringKey, grace, activation time.Duration) *Ring {
	inner := &ringBox{grace: grace, activation: activation, seal: sealer{info: sealInfo}, keys: keys}
	inner.view.Store(inner.at(time.Now(), 1))
	r := &Ring{p: new(atomic.Pointer[ringBox])}
	r.p.Store(inner)
	return r
}

// Derive returns keys of n bytes for one purpose, the primary first; the rest
// only open. Keys of different purposes tell nothing about each other or about
// the ring. The same purpose and ring key always give the same result, in
// every version of this library: HKDF-SHA-256 (RFC 5869) without salt, info
// "github.com/inovy/hardening/secrets/ring/v1|" + purpose.
//
// purpose begins with the name of who uses the keys: "session/cookie". n is 1
// to 8160 (RFC 5869 section 2.3). An empty purpose, another n and a ring without
// keys give nil. The slices are the caller's to keep and to wipe. Derive again
// when [Ring.Generation] has moved.
func (r *Ring) Derive(purpose string, n int) [][]byte {
	inner := r.inner()
	if inner == nil || purpose == "" || n < 1 || n > 255*sha256.Size {
		return nil
	}
	inner.look()
	inner.mu.RLock()
	defer inner.mu.RUnlock()
	order := inner.view.Load().order
	out := make([][]byte, 0, len(order))
	for _, i := range order {
		key, err := hkdf.Key(sha256.New, inner.keys[i].key, nil, "github.com/inovy/hardening/secrets/ring/v1|"+purpose, n)
		if err != nil { // only for a length or key size that is excluded above
			return nil
		}
		out = append(out, key)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// Generation is a number that grows whenever a key became primary, was added
// or retired: while it stands still, Derive gives the same keys. It is 0 for a
// nil or zero Ring.
func (r *Ring) Generation() uint64 {
	inner := r.inner()
	if inner == nil {
		return 0
	}
	return inner.look().generation
}

// Destroy wipes the keys. Keys derived before stay as they are.
func (r *Ring) Destroy() {
	for inner := r.inner(); inner != nil && !r.destroy(inner); {
		inner = r.inner() // a reload was faster
	}
}

// destroy wipes the keys if they are still those of the ring.
func (r *Ring) destroy(inner *ringBox) bool {
	inner.mu.Lock()
	defer inner.mu.Unlock()
	switch {
	case r.p.Load() != inner:
		return false
	case inner.keys == nil:
		return true
	}
	wipeKeys(inner.keys)
	inner.keys = nil
	inner.seal.set.Store(nil)
	inner.view.Store(&ringView{generation: inner.view.Load().generation + 1})
	return true
}

func (r *Ring) inner() *ringBox {
	if r == nil || r.p == nil {
		return nil
	}
	return r.p.Load()
}

// primary returns version and date of the primary key.
func (r *Ring) primary() (version int, created time.Time) {
	inner := r.inner()
	if inner == nil {
		return 0, time.Time{}
	}
	inner.look()
	inner.mu.RLock()
	defer inner.mu.RUnlock()
	if order := inner.view.Load().order; len(order) > 0 {
		k := inner.keys[order[0]]
		return k.version, k.created
	}
	return 0, time.Time{}
}

// look returns the view of this moment, and makes a new one if a key has
// become primary or retired since the last.
func (b *ringBox) look() *ringView {
	view := b.view.Load()
	if view.next.IsZero() {
		return view
	}
	now := time.Now()
	if now.Before(view.next) {
		return view
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if view = b.view.Load(); view.next.IsZero() || now.Before(view.next) {
		return view // another goroutine was faster
	}
	view = b.at(now, view.generation+1)
	alive := 0
	for _, i := range view.order {
		alive = max(alive, i+1)
	}
	wipeKeys(b.keys[alive:]) // the retired are the oldest, so indices stay
	b.keys = b.keys[:alive]
	b.view.Store(view)
	return view
}

// active is when a key becomes primary: the activation time after its date or, if
// it came later, after this service learned it. Dates are days, and deployments
// take as long as they take: by the date alone a key would seal at once what no
// other node can open yet, and the one before it would be gone.
func (k ringKey) active(activation time.Duration) time.Time {
	from := k.created
	if k.learned.After(from) {
		from = k.learned
	}
	return from.Add(activation)
}

// at works out the view at a moment. A key becomes primary when it is active
// and supersedes the next older one, which retires the
// grace time later; the oldest needs no date, because nothing waits for it.
func (b *ringBox) at(now time.Time, generation uint64) *ringView {
	view := &ringView{generation: generation}
	primary := len(b.keys) - 1
	for i := len(b.keys) - 2; i >= 0; i-- {
		active := b.keys[i].active(b.activation)
		if now.Before(active) {
			view.next = earlier(view.next, active)
			continue
		}
		primary = i
	}
	view.order = append(view.order, primary)
	for i := range primary {
		view.order = append(view.order, i)
	}
	for i := primary + 1; i < len(b.keys); i++ {
		retires := b.keys[i-1].active(b.activation).Add(b.grace)
		if !now.Before(retires) {
			break // and all that are older retired before it
		}
		view.next = earlier(view.next, retires)
		view.order = append(view.order, i)
	}
	return view
}

// earlier returns the earlier time; a zero a is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// each calls fn with every key. fn must not keep its bytes.
func (b *ringBox) each(fn func(ringKey)) {
	if b == nil {
		return
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, k := range b.keys {
		fn(k)
	}
}
