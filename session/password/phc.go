package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/inovy/hardening/internal/text"
)

// Params is what an argon2id hash costs (RFC 9106).
type Params struct {
	MemoryKiB uint32 // m
	Passes    uint32 // t
	Lanes     uint8  // p
}

// OWASPMinimum is the first choice of the OWASP password storage cheat sheet
// and of ASVS 5.0 appendix C: 19 MiB, two passes, one lane.
func OWASPMinimum() Params { return Params{MemoryKiB: 19456, Passes: 2, Lanes: 1} }

// owaspEquivalents are the settings that the cheat sheet holds to be equally
// strong; fewer passes need more memory.
var owaspEquivalents = [...]Params{{47104, 1, 1}, {19456, 2, 1}, {12288, 3, 1}, {9216, 4, 1}, {7168, 5, 1}}

// String returns the parameters as PHC strings write them: "m=19456,t=2,p=1".
func (p Params) String() string {
	return fmt.Sprintf("m=%d,t=%d,p=%d", p.MemoryKiB, p.Passes, p.Lanes)
}

func (p Params) meetsOWASP() bool {
	for _, o := range owaspEquivalents {
		if p.MemoryKiB >= o.MemoryKiB && p.Passes >= o.Passes && p.Lanes >= o.Lanes {
			return true
		}
	}
	return false
}

const (
	saltSize = 16 // RFC 9106 section 3.1
	tagSize  = 32
	version  = argon2.Version
)

// Caps on a stored hash, so that a row that someone planted costs no more than
// a row of ours might. They are far above every published recommendation.
const (
	maxMemoryKiB = 256 << 10
	maxPasses    = 16
	maxLanes     = 16
	maxWork      = 1 << 20 // KiB times passes: 1 GiB written
	maxPHC       = 256     // bytes
	minSalt      = 8
	maxSalt      = 48
	minTag       = 16
	maxTag       = 64
)

// ErrHash says that a stored hash cannot be checked: it is damaged, of another
// algorithm, or would cost more than any of ours. It never holds the hash.
var ErrHash = errors.New("password: the stored hash cannot be checked")

// phc is an argon2id hash in the PHC string format:
//
//	$argon2id$v=19$m=19456,t=2,p=1$<salt>$<tag>
//	$argon2id$v=19$m=19456,t=2,p=1,keyid=<id>$<salt>$<tag>
//
// with salt, tag and id in base64 without padding. With a key id, what was
// hashed is the HMAC-SHA384 of the password under that pepper.
type phc struct {
	params    Params
	salt, tag []byte
	pepper    *pepperID // nil = none
}

var base64PHC = base64.RawStdEncoding.Strict()

func (h phc) String() string {
	keyID := ""
	if h.pepper != nil {
		keyID = ",keyid=" + h.pepper.String()
	}
	return fmt.Sprintf("$argon2id$v=%d$%s%s$%s$%s", version, h.params, keyID, base64PHC.EncodeToString(h.salt), base64PHC.EncodeToString(h.tag))
}

// parsePHC reads a stored hash: exactly the form that String writes.
func parsePHC(s string) (phc, error) {
	bad := func(why string) (phc, error) { return phc{}, fmt.Errorf("%w: %s", ErrHash, why) }
	if len(s) > maxPHC {
		return bad("it is longer than 256 bytes")
	}
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" {
		return bad("it is not of the form $argon2id$v=19$m=,t=,p=$salt$hash")
	}
	if parts[1] != "argon2id" {
		return bad("it is not argon2id")
	}
	if parts[2] != "v=19" {
		return bad("it is not version 19 of argon2")
	}
	var h phc
	costs := strings.Split(parts[3], ",")
	if len(costs) == 4 {
		id, ok := parsePepperID(costs[3])
		if !ok {
			return bad("its key id does not read")
		}
		h.pepper, costs = &id, costs[:3]
	}
	if len(costs) != 3 {
		return bad("its parameters are not m, t and p")
	}
	m, okM := number(costs[0], "m=", maxMemoryKiB)
	t, okT := number(costs[1], "t=", maxPasses)
	p, okP := number(costs[2], "p=", maxLanes)
	if !okM || !okT || !okP || m < 8*p || uint64(m)*uint64(t) > maxWork {
		return bad("its parameters are missing, malformed or beyond what is allowed")
	}
	h.params = Params{m, t, uint8(p)}
	var err error
	if h.salt, err = decode64(parts[4], minSalt, maxSalt); err != nil {
		return bad("its salt does not read")
	}
	if h.tag, err = decode64(parts[5], minTag, maxTag); err != nil {
		return bad("its hash does not read")
	}
	return h, nil
}

// number reads a decimal without sign or leading zeros.
func number(s, prefix string, most uint32) (uint32, bool) {
	digits, ok := strings.CutPrefix(s, prefix)
	if !ok || digits == "" || digits[0] < '1' || digits[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil && n <= uint64(most)
}

func decode64(s string, least, most int) ([]byte, error) {
	if text.HasLineBreak(s) {
		return nil, ErrHash
	}
	b, err := base64PHC.DecodeString(s)
	if err != nil || len(b) < least || len(b) > most {
		return nil, ErrHash
	}
	return b, nil
}

func (p Params) compute(password string, salt []byte, size int) []byte {
	return argon2.IDKey([]byte(password), salt, p.Passes, p.MemoryKiB, p.Lanes, uint32(size))
}
