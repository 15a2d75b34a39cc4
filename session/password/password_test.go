package password_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inovy/hardening/session/password"
)

var cheap = password.Params{MemoryKiB: 64, Passes: 1, Lanes: 1}

func newHasher(t testing.TB, cfg password.Config) *password.Hasher {
	t.Helper()
	if cfg.Params == (password.Params{}) {
		cfg.Params = cheap
	}
	cfg.DangerouslyWeak = true
	h, err := password.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func hash(t testing.TB, h *password.Hasher, pw string) string {
	t.Helper()
	s, err := h.Hash(t.Context(), pw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheDefaultIsOWASPsMinimum(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-11.4.2")
	h, err := password.New(password.Config{})
	if err != nil {
		t.Fatal(err)
	}
	stored := hash(t, h, "correct horse battery staple")
	if !strings.HasPrefix(stored, "$argon2id$v=19$m=19456,t=2,p=1$") || len(stored) != 97 {
		t.Errorf("stored %q of %d bytes", stored, len(stored))
	}
	if again := hash(t, h, "correct horse battery staple"); again == stored {
		t.Error("two hashes share a salt")
	}
	res, err := h.Verify(t.Context(), stored, "correct horse battery staple")
	if err != nil || !res.OK || res.NewHash != "" {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestPasswordsAreTakenByteForByte(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-6.2.8")
	t.Attr("control", "ASVS v5.0.0-6.2.9")
	h := newHasher(t, password.Config{})
	for _, pw := range []string{
		"x", " leading and trailing ", "Ünïcödé", "nul\x00inside", "\xff\xfe not UTF-8", strings.Repeat("a", 72), strings.Repeat("a", 73), strings.Repeat("密", 341), strings.Repeat("a", password.MaxPassword),
	} {
		stored := hash(t, h, pw)
		if res, err := h.Verify(t.Context(), stored, pw); err != nil || !res.OK {
			t.Errorf("%.20q: %+v, %v", pw, res, err)
		}
		for _, wrong := range []string{"", pw[:len(pw)-1], pw + "a", " " + pw, strings.TrimSpace(pw), strings.ToUpper(pw), strings.SplitN(pw, "\x00", 2)[0]} {
			if wrong == pw || len(wrong) > password.MaxPassword {
				continue
			}
			if res, err := h.Verify(t.Context(), stored, wrong); err != nil || res.OK || res.NewHash != "" {
				t.Errorf("%.20q opens with %.20q: %v", pw, wrong, err)
			}
		}
	}
	if _, err := h.Hash(t.Context(), ""); !errors.Is(err, password.ErrEmpty) {
		t.Errorf("empty: %v", err)
	}
	long := strings.Repeat("a", password.MaxPassword+1)
	if _, err := h.Hash(t.Context(), long); !errors.Is(err, password.ErrTooLong) {
		t.Errorf("Hash of a long one: %v", err)
	}
	if res, err := h.Verify(t.Context(), hash(t, h, long[1:]), long); !errors.Is(err, password.ErrTooLong) || res.OK {
		t.Errorf("Verify of a long one: %+v, %v", res, err)
	}
}

func TestHashesOfTheReferenceImplementationVerify(t *testing.T) {
	b, err := os.ReadFile("testdata/argon2id.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Source, Password, Stored string }
	if err := json.Unmarshal(b, &vectors); err != nil || len(vectors) < 5 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	h := newHasher(t, password.Config{})
	for _, v := range vectors {
		if res, err := h.Verify(t.Context(), v.Stored, v.Password); err != nil || !res.OK {
			t.Errorf("%s: %+v, %v", v.Stored, res, err)
		}
		if res, err := h.Verify(t.Context(), v.Stored, v.Password+"x"); err != nil || res.OK {
			t.Errorf("%s opens with another password: %v", v.Stored, err)
		}
	}
}

func TestAHashBelowThePresentCostIsRenewed(t *testing.T) {
	old := newHasher(t, password.Config{})
	for _, p := range []password.Params{{MemoryKiB: 128, Passes: 1, Lanes: 1}, {MemoryKiB: 64, Passes: 2, Lanes: 1}, {MemoryKiB: 64, Passes: 1, Lanes: 2}} {
		now := newHasher(t, password.Config{Params: p})
		stored := hash(t, old, "secret")
		res, err := now.Verify(t.Context(), stored, "secret")
		if err != nil || !res.OK || !strings.HasPrefix(res.NewHash, "$argon2id$v=19$"+p.String()+"$") {
			t.Fatalf("%v: %+v, %v", p, res, err)
		}
		if again, err := now.Verify(t.Context(), res.NewHash, "secret"); err != nil || !again.OK || again.NewHash != "" {
			t.Errorf("%v: the new hash: %+v, %v", p, again, err)
		}
		if res, _ := now.Verify(t.Context(), stored, "wrong"); res.NewHash != "" {
			t.Errorf("%v: a wrong password was hashed to be stored", p)
		}
		if res, err := old.Verify(t.Context(), hash(t, now, "secret"), "secret"); err != nil || !res.OK || res.NewHash != "" {
			t.Errorf("%v: a stronger hash was replaced by a weaker: %+v, %v", p, res, err)
		}
	}
	short := "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	if res, err := old.Verify(t.Context(), short, "password"); err != nil || !res.OK || res.NewHash == "" {
		t.Errorf("a salt of 8 bytes stays: %+v, %v", res, err)
	}
}

func TestHostileStoredHashes(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-15.2.2")
	h := newHasher(t, password.Config{MemoryMiB: 1})
	good := hash(t, h, "secret")
	parts := strings.Split(good, "$")
	with := func(i int, s string) string {
		p := append([]string(nil), parts...)
		p[i] = s
		return strings.Join(p, "$")
	}
	hostile := map[string]string{
		"nonsense":                       "x",
		"dollars":                        "$$$$$",
		"a megabyte":                     strings.Repeat("$", 1<<20),
		"argon2i":                        with(1, "argon2i"),
		"argon2d":                        with(1, "argon2d"),
		"bcrypt for an hour":             "$2a$24$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
		"bcrypt of cost 3":               "$2a$03$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
		"the broken 2x of bcrypt":        "$2x$04$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
		"bcrypt cut short":               "$2a$04$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMU",
		"bcrypt and more":                "$2a$04$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUWx",
		"bcrypt in another alphabet":     "$2a$04$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWM+W",
		"bcrypt with a foreign pepper":   "$bcrypt-hmac-sha384$keyid=AAAAAA$2a$04$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
		"a foreign pepper":               with(3, "m=64,t=1,p=1,keyid=AAAAAA"),
		"version 16":                     with(2, "v=16"),
		"no memory":                      with(3, "m=0,t=1,p=1"),
		"four terabytes of memory":       with(3, "m=4294967295,t=1,p=1"),
		"memory beyond the cap":          with(3, "m=262145,t=1,p=1"),
		"memory beyond the budget":       with(3, "m=1025,t=1,p=1"),
		"memory that overflows":          with(3, "m=4294967360,t=1,p=1"),
		"no passes":                      with(3, "m=64,t=0,p=1"),
		"passes for a week":              with(3, "m=64,t=4294967295,p=1"),
		"much memory many times":         with(3, "m=262144,t=5,p=1"),
		"no lanes":                       with(3, "m=64,t=1,p=0"),
		"lanes that wrap around":         with(3, "m=65536,t=1,p=257"),
		"more lanes than memory":         with(3, "m=64,t=1,p=9"),
		"a sign":                         with(3, "m=+64,t=1,p=1"),
		"a leading zero":                 with(3, "m=064,t=1,p=1"),
		"another order":                  with(3, "t=1,m=64,p=1"),
		"a parameter twice":              with(3, "m=64,m=64,t=1,p=1"),
		"a key id":                       with(3, "m=64,t=1,p=1,keyid=AAAA"),
		"no salt":                        with(4, ""),
		"a salt of a byte":               with(4, "AA"),
		"a padded salt":                  with(4, parts[4]+"=="),
		"a salt with a line feed":        with(4, parts[4][:5]+"\n"+parts[4][5:]),
		"a salt in another alphabet":     with(4, "-"+parts[4][1:]),
		"no hash":                        with(5, ""),
		"a hash of a byte":               with(5, "AA"),
		"a hash of hundreds of bytes":    with(5, strings.Repeat("A", 200)),
		"trailing bits in the hash":      good[:len(good)-1] + string(good[len(good)-1]+1),
		"something before":               " " + good,
		"something after":                good + "$",
		"a line feed after":              good + "\n",
		"a plain password in the column": "secret",
	}
	for name, stored := range hostile {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		res, err := h.Verify(t.Context(), stored, "secret")
		runtime.ReadMemStats(&after)
		if !errors.Is(err, password.ErrHash) || res.OK || res.NewHash != "" {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
		// A damaged row costs the work of a wrong password, 19 MiB, and not what it asks for.
		if took := after.TotalAlloc - before.TotalAlloc; took > 2*19<<20 {
			t.Errorf("%s: took %d bytes", name, took)
		}
		if err != nil && len(stored) > 20 && strings.Contains(err.Error(), stored[10:20]) {
			t.Errorf("%s: the error holds the hash: %v", name, err)
		}
	}
}

// An unknown user, a wrong password and a damaged row cost the same work.
func TestAnUnknownUserCostsTheSameWork(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-6.3.8")
	h, err := password.New(password.Config{})
	if err != nil {
		t.Fatal(err)
	}
	stored := hash(t, h, "secret")
	// The work of argon2id is its passes over memory, so what it took of memory
	// tells, on any machine and under any load.
	measure := func(stored string) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 3 {
			if res, _ := h.Verify(t.Context(), stored, "guess"); res.OK {
				t.Error("a guess is right")
			}
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	wrong := measure(stored)
	if wrong < 3*19<<20 {
		t.Fatalf("three wrong passwords took %d bytes", wrong)
	}
	for name, s := range map[string]string{"unknown user": "", "damaged row": "rubbish"} {
		if took := measure(s); took < wrong*9/10 || took > wrong*11/10 {
			t.Errorf("%s takes %d bytes, a wrong password %d", name, took, wrong)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, s := range []string{stored, "", "rubbish"} {
		if _, err := h.Verify(cancelled, s, "guess"); !errors.Is(err, context.Canceled) {
			t.Errorf("%.10q does not ask for memory: %v", s, err)
		}
	}
}

func TestAnUnknownUserHasNoPassword(t *testing.T) {
	h := newHasher(t, password.Config{})
	for _, pw := range []string{"", "secret", strings.Repeat("\x00", 32)} {
		if res, err := h.Verify(t.Context(), "", pw); err != nil || res.OK || res.NewHash != "" {
			t.Errorf("%q: %+v, %v", pw, res, err)
		}
	}
}

func TestAFloodOfLoginsStaysWithinTheBudget(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-15.2.2")
	h := newHasher(t, password.Config{Params: password.Params{MemoryKiB: 1024, Passes: 1, Lanes: 1}, MemoryMiB: 2, MaxWaiting: 20})
	stored := hash(t, h, "secret")
	var ok, busy, late, other atomic.Int64
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	start := make(chan struct{})
	for range 200 {
		all.Go(func() {
			<-start
			switch res, err := h.Verify(ctx, stored, "secret"); {
			case err == nil && res.OK:
				ok.Add(1)
			case errors.Is(err, password.ErrBusy):
				busy.Add(1)
			case errors.Is(err, context.DeadlineExceeded):
				late.Add(1)
			default:
				other.Add(1)
			}
		})
	}
	close(start)
	all.Wait()
	if ok.Load() < 20 || other.Load() != 0 || ok.Load()+busy.Load()+late.Load() != 200 {
		t.Errorf("%d served, %d turned away, %d late, %d otherwise", ok.Load(), busy.Load(), late.Load(), other.Load())
	}
	if res, err := h.Verify(t.Context(), stored, "secret"); err != nil || !res.OK {
		t.Errorf("after the flood: %+v, %v", res, err)
	}
}
