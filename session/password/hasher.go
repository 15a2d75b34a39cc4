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

	// Params is what a new hash costs, taken whole. Default: [OWASPMinimum].
	// Less than OWASP's equivalents is a fault.
	Params Params

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
	// ErrEmpty says that a password to be stored is empty.
	ErrEmpty = errors.New("password: empty")
)

// Hasher hashes and checks passwords. It is safe for concurrent use.
type Hasher struct {
	cfg    Config
	budget *budget
	dummy  phc // what an unknown user's password is checked against
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
	h := &Hasher{cfg: cfg, budget: &budget{total: int64(cfg.MemoryMiB) << 10, maxWait: cfg.MaxWaiting}}
	// No password has this hash: the tag is random and was never computed.
	h.dummy = phc{params: cfg.Params, salt: random(saltSize), tag: random(tagSize)}
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

// Hash returns the PHC string to store for a new password. It waits for its
// share of the memory budget. Errors: [ErrEmpty], [ErrTooLong], [ErrBusy] and
// those of ctx. How long or how common a password may be is not its business.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	switch {
	case password == "":
		return "", ErrEmpty
	case len(password) > MaxPassword:
		return "", ErrTooLong
	}
	fresh := phc{params: h.cfg.Params, salt: random(saltSize)}
	var err error
	if fresh.tag, err = h.compute(ctx, fresh.params, password, fresh.salt, tagSize); err != nil {
		return "", err
	}
	return fresh.String(), nil
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

// Verify checks a password against what [Hasher.Hash] returned. For an unknown
// user pass stored == "": it does the same work and answers that the password
// is wrong, so that the time tells nobody who has an account (ASVS
// v5.0.0-6.3.8).
//
// A wrong password is no error. Errors: [ErrTooLong], [ErrBusy] and those of
// ctx, and [ErrHash], which comes after the same work as well. The Result of
// an error is never OK.
func (h *Hasher) Verify(ctx context.Context, stored, password string) (Result, error) {
	if len(password) > MaxPassword {
		return Result{}, ErrTooLong
	}
	against, bad := h.dummy, error(nil)
	known := stored != ""
	if known {
		if against, bad = parsePHC(stored); bad == nil && int64(against.params.MemoryKiB) > h.budget.total {
			bad = fmt.Errorf("%w: it needs more than the whole memory budget", ErrHash)
		}
		if bad != nil {
			against, known = h.dummy, false
		}
	}
	got, err := h.compute(ctx, against.params, password, against.salt, len(against.tag))
	if err != nil {
		return Result{}, err
	}
	if subtle.ConstantTimeCompare(got, against.tag) != 1 || !known {
		return Result{}, bad
	}
	res := Result{OK: true}
	if against.outdated(h.cfg.Params) {
		// Best effort: the login is good even if there is no memory now.
		if fresh, err := h.Hash(ctx, password); err == nil {
			res.NewHash = fresh
		}
	}
	return res, nil
}

// outdated says whether a hash is weaker than the present cost.
func (p phc) outdated(now Params) bool {
	return p.params.MemoryKiB < now.MemoryKiB || p.params.Passes < now.Passes || p.params.Lanes < now.Lanes ||
		len(p.salt) < saltSize || len(p.tag) < tagSize
}

func (h *Hasher) compute(ctx context.Context, p Params, password string, salt []byte, size int) ([]byte, error) {
	if err := h.budget.acquire(ctx, int64(p.MemoryKiB)); err != nil {
		return nil, err
	}
	defer h.budget.release(int64(p.MemoryKiB))
	return p.compute(password, salt, size), nil
}
