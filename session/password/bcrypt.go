package password

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// Algorithm is a way to hash passwords.
type Algorithm uint8

const (
	// Argon2id is memory-hard (RFC 9106), and the first choice of OWASP.
	Argon2id Algorithm = iota
	// Bcrypt is for tables that other programs read as well.
	Bcrypt
)

// String returns the name: "argon2id" or "bcrypt".
func (a Algorithm) String() string {
	switch a {
	case Argon2id:
		return "argon2id"
	case Bcrypt:
		return "bcrypt"
	}
	return fmt.Sprintf("Algorithm(%d)", uint8(a))
}

const (
	defaultBcryptCost = 12
	minBcryptCost     = 10
	maxBcryptCost     = 14 // also of stored hashes: a second of work
	maxBcryptPassword = 72 // bytes that bcrypt looks at
	bcryptHash        = 60 // bytes of a hash

	// bcryptShare is what one bcrypt takes of the memory budget. It needs 4 KiB;
	// the rest stands for the core that it keeps busy ten times as long as
	// argon2id does for the same share.
	bcryptShare = 16 << 10
)

// stored is a hash that was read from a table.
type stored struct {
	argon  phc
	bcrypt []byte // nil = argon2id
	cost   int    // of bcrypt
	pepper *pepper
}

// A bcrypt hash is stored as bcrypt writes it, and with a pepper as
//
//	$bcrypt-hmac-sha384$keyid=<id>$2a$12$...
//
// where what was hashed is base64 of the HMAC-SHA384 of the password.
const bcryptPeppered = "$bcrypt-hmac-sha384$"

// parseStored reads a stored hash of either algorithm.
func parseStored(hash string, keys *pepperKeys) (stored, error) {
	bad := func(why string) (stored, error) { return stored{}, fmt.Errorf("%w: %s", ErrHash, why) }
	find := func(s stored, id *pepperID) (stored, error) {
		if id == nil {
			return s, nil
		}
		if s.pepper = keys.byID(*id); s.pepper == nil {
			return bad("its pepper is not in force")
		}
		return s, nil
	}
	rest, peppered := strings.CutPrefix(hash, bcryptPeppered)
	if !peppered && !strings.HasPrefix(hash, "$2") {
		h, err := parsePHC(hash)
		if err != nil {
			return stored{}, err
		}
		return find(stored{argon: h}, h.pepper)
	}
	var id *pepperID
	if peppered {
		name, inner, _ := strings.Cut(rest, "$")
		found, ok := parsePepperID(name)
		if !ok {
			return bad("its key id does not read")
		}
		id, rest = &found, "$"+inner
	}
	s, ok := parseBcrypt(rest)
	if !ok {
		return bad("it is not a bcrypt hash of cost 4 to 14")
	}
	return find(s, id)
}

// parseBcrypt reads $2a$, $2b$ and $2y$, which are the same for what x/crypto
// computes.
func parseBcrypt(hash string) (stored, bool) {
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	if len(hash) != bcryptHash || hash[0] != '$' || hash[3] != '$' || hash[6] != '$' || strings.Trim(hash[7:], alphabet) != "" {
		return stored{}, false
	}
	switch hash[1:3] {
	case "2a", "2b", "2y":
	default:
		return stored{}, false
	}
	if hash[4] < '0' || hash[4] > '1' || hash[5] < '0' || hash[5] > '9' {
		return stored{}, false
	}
	cost := int(hash[4]-'0')*10 + int(hash[5]-'0')
	return stored{bcrypt: []byte(hash), cost: cost}, cost >= bcrypt.MinCost && cost <= maxBcryptCost
}

// dummyBcrypt is a hash that no password has, of the cost.
func dummyBcrypt(cost int) []byte {
	return fmt.Appendf(nil, "$2a$%02d$%s", cost, strings.Repeat(".", bcryptHash-7))
}

func (h *Hasher) hashBcrypt(ctx context.Context, p *pepper, password string) (string, error) {
	text := p.seasonText(password)
	if len(text) > maxBcryptPassword {
		return "", fmt.Errorf("%w: bcrypt looks at no more than 72", ErrTooLong)
	}
	if strings.Contains(text, "\x00") {
		return "", ErrNUL
	}
	share := min(bcryptShare, h.budget.total)
	if err := h.budget.acquire(ctx, share); err != nil {
		return "", err
	}
	defer h.budget.release(share)
	b, err := bcrypt.GenerateFromPassword([]byte(text), h.cfg.BcryptCost)
	if err != nil {
		return "", err
	}
	if p == nil {
		return string(b), nil
	}
	return bcryptPeppered + "keyid=" + p.id.String() + string(b), nil
}

// matchesBcrypt closes the trap on the side of verification: x/crypto looks at
// the first 72 bytes only, so that a longer password would match by its
// beginning. And bcrypt repeats a password with a NUL behind it, so that "a" and
// "a\x00a" are the same to it.
func (h *Hasher) matchesBcrypt(ctx context.Context, s stored, password string) (bool, error) {
	text := s.pepper.seasonText(password)
	fits := len(text) <= maxBcryptPassword
	if !fits {
		text = text[:maxBcryptPassword] // for the same work
	}
	share := min(bcryptShare, h.budget.total)
	if err := h.budget.acquire(ctx, share); err != nil {
		return false, err
	}
	defer h.budget.release(share)
	fits = fits && !strings.Contains(text, "\x00")
	return bcrypt.CompareHashAndPassword(s.bcrypt, []byte(text)) == nil && fits, nil
}
