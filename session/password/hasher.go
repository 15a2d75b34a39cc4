package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/inovy/hardening/internal/faults"
)

// Config configures a [Hasher]. The zero value is usable.
type Config struct {
	_ [0]func()

	// Name is the Component of findings. Default: "password".
	Name string

	// Algorithm is what new passwords are hashed with. Default: [Argon2id].
	// Verify reads both.
	Algorithm Algorithm

	// Params is what a new argon2id hash costs, taken whole. Default:
	// [OWASPMinimum]. Less than OWASP's equivalents is a fault.
	Params Params

	// BcryptCost is what a new bcrypt hash costs. Default: 12. 10 to 14, as
	// OWASP asks for at least 10.
	BcryptCost int

	// Pepper keys hashes with a secret that is not in the database: without it
	// a stolen table cannot be guessed at. nil = none, which is a finding. A
	// key that retires must stay in the ring until its last user has logged in
	// again: a hash whose key is gone cannot be checked.
	Pepper KeySource

	// DangerouslyWeak allows Params below OWASP's minimum, for tests that hash
	// a lot. It is not for passwords of people.
	DangerouslyWeak bool

	// MemoryMiB bounds the memory of all hashes that run at once. Default:
	// 256. A stored hash that needs more than all of it is refused. Set it to
	// what the service can spare: 19 MiB and some 25 ms of one core a login.
	MemoryMiB int

	// MaxWaiting bounds how many hashes wait for memory; one more gets
	// [ErrBusy]. Default: 256.
	MaxWaiting int
}

// MaxPassword is the longest password in bytes. It bounds what hashing a
// request's input can cost, and is far above the 64 characters that ASVS
// v5.0.0-6.2.9 asks to accept.
const MaxPassword = 1024

const (
	defaultMemoryMiB  = 256
	maxBudgetMiB      = 64 << 10
	defaultMaxWaiting = 256
	maxMaxWaiting     = 100_000
)

var (
	// ErrTooLong says that a password is longer than [MaxPassword] bytes.
	ErrTooLong = errors.New("password: longer than 1024 bytes")
	// ErrNUL says that a password to be stored with bcrypt and no pepper has a
	// NUL in it, which bcrypt does not tell from its end.
	ErrNUL = errors.New("password: bcrypt stores no password with a NUL in it")
	// ErrEmpty says that a password to be stored is empty.
	ErrEmpty = errors.New("password: empty")
)

// Hasher hashes and checks passwords. It is safe for concurrent use.
type Hasher struct {
	cfg     Config
	budget  *budget
	dummy   stored // what an unknown user's password is checked against
	peppers peppers
}

// New returns a Hasher, or every fault of cfg at once.
func New(cfg Config) (*Hasher, error) {
	c := faults.For("password")
	c.Name("Name", cfg.Name)
	if cfg.Name == "" {
		cfg.Name = "password"
	}
	if cfg.Params == (Params{}) {
		cfg.Params = OWASPMinimum()
	}
	if cfg.MemoryMiB == 0 {
		cfg.MemoryMiB = defaultMemoryMiB
	}
	if cfg.MaxWaiting == 0 {
		cfg.MaxWaiting = defaultMaxWaiting
	}
	if cfg.BcryptCost == 0 {
		cfg.BcryptCost = defaultBcryptCost
	}
	if cfg.Algorithm > Bcrypt {
		c.Add("Algorithm", cfg.Algorithm, "is not an algorithm", "use password.Argon2id or password.Bcrypt")
	}
	if least := minBcryptCost; cfg.BcryptCost < least && !cfg.DangerouslyWeak || cfg.BcryptCost < 4 || cfg.BcryptCost > maxBcryptCost {
		c.Add("BcryptCost", cfg.BcryptCost, "is not between 10 and 14", "leave it zero for 12")
	}
	h := &Hasher{}
	if cfg.Pepper != nil && !c.NilInside("Pepper", cfg.Pepper, "leave it nil for no pepper, or pass a ring that was loaded") {
		h.peppers.src = cfg.Pepper
		if _, err := h.peppers.get(); err != nil {
			c.Secret("Pepper", err.Error(), "use a key ring that derives independent 48-byte keys, such as *secrets.Ring")
		}
	}
	cfg.Params.validate(c, cfg.DangerouslyWeak)
	switch {
	case cfg.MemoryMiB < 1 || cfg.MemoryMiB > maxBudgetMiB:
		c.Add("MemoryMiB", cfg.MemoryMiB, "is not between 1 and 65536", "leave it zero for 256, or set what the service can spare")
	case int64(cfg.MemoryMiB)<<10 < int64(cfg.Params.MemoryKiB):
		c.Add("MemoryMiB", cfg.MemoryMiB, fmt.Sprintf("is less than one hash needs (%d KiB)", cfg.Params.MemoryKiB), "set it to a multiple of Params.MemoryKiB")
	}
	if cfg.MaxWaiting < 1 || cfg.MaxWaiting > maxMaxWaiting {
		c.Add("MaxWaiting", cfg.MaxWaiting, "is not between 1 and 100000", "leave it zero for 256")
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	h.cfg = cfg
	h.budget = &budget{total: int64(cfg.MemoryMiB) << 10, maxWait: cfg.MaxWaiting}
	// No password has this hash: the tag is random and was never computed.
	h.dummy = stored{argon: phc{params: cfg.Params, salt: random(saltSize), tag: random(tagSize)}}
	if cfg.Algorithm == Bcrypt {
		h.dummy = stored{bcrypt: dummyBcrypt(cfg.BcryptCost), cost: cfg.BcryptCost}
	}
	return h, nil
}

func (p Params) validate(c *faults.Collector, weak bool) {
	switch {
	case p.MemoryKiB == 0 || p.Passes == 0 || p.Lanes == 0:
		c.Add("Params", p, "has a zero in it", "start from OWASPMinimum and change what you need")
	case p.MemoryKiB > maxMemoryKiB || p.Passes > maxPasses || p.Lanes > maxLanes || uint64(p.MemoryKiB)*uint64(p.Passes) > maxWork:
		c.Add("Params", p, "is beyond what Verify accepts from a stored hash", fmt.Sprintf("keep m at most %d, t and p at most %d, and m times t at most %d", maxMemoryKiB, maxPasses, maxWork))
	case p.MemoryKiB < 8*uint32(p.Lanes):
		c.Add("Params.MemoryKiB", p, "is less than 8 KiB a lane, which argon2 needs (RFC 9106)", "start from OWASPMinimum and change what you need")
	case !weak && !p.meetsOWASP():
		c.Add("Params", p, "is weaker than OWASP's minimum", "use OWASPMinimum or more; in tests set DangerouslyWeak")
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (Go 1.24)
	return b
}

// Hash returns the string to store for a new password: argon2id in PHC form, or
// bcrypt in its own, with the id of the pepper's key if there is one. It waits
// for its share of the memory budget. Errors: [ErrEmpty], [ErrTooLong] (also
// for more than 72 bytes with bcrypt and no pepper, which bcrypt would not look
// at), [ErrNUL], [ErrBusy], [ErrPepper] and those of ctx. How long or how common a
// password may be is the business of [Policy].
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	switch {
	case password == "":
		return "", ErrEmpty
	case len(password) > MaxPassword:
		return "", ErrTooLong
	}
	p, err := h.peppers.get()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrPepper, err)
	}
	fresh := stored{pepper: p.primary()}
	if h.cfg.Algorithm == Bcrypt {
		return h.hashBcrypt(ctx, fresh.pepper, password)
	}
	fresh.argon = phc{params: h.cfg.Params, salt: random(saltSize), pepper: fresh.pepper.name()}
	if fresh.argon.tag, err = h.compute(ctx, fresh.argon.params, fresh.pepper.season(password), fresh.argon.salt, tagSize); err != nil {
		return "", err
	}
	return fresh.argon.String(), nil
}

// Result is what Verify found.
type Result struct {
	// OK says that the password is the one that was stored.
	OK bool
	// NewHash, if not empty, is the password's hash at the present cost, for
	// one that was stored at a lower one. Write it only where the old hash
	// still stands, or it would undo a password change made meanwhile.
	NewHash string
}

// Verify checks a password against what [Hasher.Hash] returned, or any bcrypt
// hash. For an unknown user pass "" as the hash: it does the same work and
// answers that the password is wrong, so that the time tells nobody who has an
// account (ASVS v5.0.0-6.3.8).
//
// A wrong password against a hash that is cheaper than the present cost is made
// to cost the present cost too. What cannot be evened out is a hash that costs
// more, or one of the other algorithm: until its user logs in and gets a
// NewHash, the time of a wrong password tells that the account is older than
// the present configuration. Right passwords are not evened out; they tell
// more than the time does.
//
// A wrong password is no error. Errors: [ErrTooLong], [ErrBusy], [ErrPepper]
// and those of ctx, and [ErrHash], which comes after the same work as well. The
// Result of an error is never OK.
func (h *Hasher) Verify(ctx context.Context, hash, password string) (Result, error) {
	if len(password) > MaxPassword {
		return Result{}, ErrTooLong
	}
	keys, err := h.peppers.get()
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrPepper, err)
	}
	against, bad := h.dummy, error(nil)
	known := hash != ""
	if known {
		if against, bad = parseStored(hash, keys); bad == nil && int64(against.argon.params.MemoryKiB) > h.budget.total {
			bad = fmt.Errorf("%w: it needs more than the whole memory budget", ErrHash)
		}
		if bad != nil {
			against, known = h.dummy, false
		}
	}
	right, err := h.matches(ctx, against, password)
	if err != nil {
		return Result{}, err
	}
	if !right || !known {
		return Result{}, errors.Join(bad, h.even(ctx, against))
	}
	res := Result{OK: true}
	if h.outdated(against, keys) {
		// Best effort: the login is good even if there is no memory now.
		if fresh, err := h.Hash(ctx, password); err == nil {
			res.NewHash = fresh
		}
	}
	return res, nil
}

func (h *Hasher) matches(ctx context.Context, s stored, password string) (bool, error) {
	if s.bcrypt != nil {
		return h.matchesBcrypt(ctx, s, password)
	}
	got, err := h.compute(ctx, s.argon.params, s.pepper.season(password), s.argon.salt, len(s.argon.tag))
	return err == nil && subtle.ConstantTimeCompare(got, s.argon.tag) == 1, err
}

// even makes a wrong password cost what it would cost against a present hash.
func (h *Hasher) even(ctx context.Context, s stored) error {
	switch {
	case s.bcrypt == nil && h.cfg.Algorithm == Argon2id:
		for _, p := range missing(s.argon.params, h.cfg.Params) {
			if _, err := h.compute(ctx, p, "", h.dummy.argon.salt, tagSize); err != nil {
				return err
			}
		}
	case s.bcrypt != nil && h.cfg.Algorithm == Bcrypt:
		// 2^c + 2^c + 2^(c+1) + ... + 2^(now-1) = 2^now
		for cost := s.cost; cost < h.cfg.BcryptCost; cost++ {
			if _, err := h.matchesBcrypt(ctx, stored{bcrypt: dummyBcrypt(cost), cost: cost}, "x"); err != nil {
				return err
			}
		}
	}
	return nil
}

// missing returns the work by which done is cheaper than due. The work of
// argon2 is memory times passes.
func missing(done, due Params) []Params {
	left := int64(due.MemoryKiB)*int64(due.Passes) - int64(done.MemoryKiB)*int64(done.Passes)
	if left < 8*int64(due.Lanes) {
		return nil
	}
	passes := (left + int64(due.MemoryKiB) - 1) / int64(due.MemoryKiB)
	return []Params{{MemoryKiB: uint32(left / passes), Passes: uint32(passes), Lanes: due.Lanes}}
}

// outdated says whether a hash is weaker than the present configuration.
func (h *Hasher) outdated(s stored, keys *pepperKeys) bool {
	if now := keys.primary(); (now == nil) != (s.pepper == nil) || now != nil && now.id != s.pepper.id {
		return now != nil // a pepper that was taken out of the configuration is gone for good
	}
	if s.bcrypt != nil {
		return h.cfg.Algorithm != Bcrypt || s.cost < h.cfg.BcryptCost
	}
	p, now := s.argon, h.cfg.Params
	return h.cfg.Algorithm == Argon2id &&
		(p.params.MemoryKiB < now.MemoryKiB || p.params.Passes < now.Passes || p.params.Lanes < now.Lanes ||
			len(p.salt) < saltSize || len(p.tag) < tagSize)
}

func (h *Hasher) compute(ctx context.Context, p Params, password string, salt []byte, size int) ([]byte, error) {
	if err := h.budget.acquire(ctx, int64(p.MemoryKiB)); err != nil {
		return nil, err
	}
	defer h.budget.release(int64(p.MemoryKiB))
	return p.compute(password, salt, size), nil
}
