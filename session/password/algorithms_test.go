package password_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/session/password"
)

// pepperRing is a KeySource as secrets.Ring is one.
type pepperRing struct {
	mu         sync.Mutex
	roots      []string
	generation uint64
}

func newPepper(roots ...string) *pepperRing { return &pepperRing{roots: roots} }

func (r *pepperRing) set(roots ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roots = roots
	r.generation++
}

func (r *pepperRing) Generation() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.generation
}

func (r *pepperRing) Derive(purpose string, n int) [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys [][]byte
	for _, root := range r.roots {
		h := hmac.New(sha512.New, []byte(root))
		h.Write([]byte(purpose))
		keys = append(keys, h.Sum(nil)[:n])
	}
	return keys
}

// verify returns whether the password is right, and the new hash.
func verify(t *testing.T, h *password.Hasher, stored, pw string) (bool, string) {
	t.Helper()
	res, err := h.Verify(t.Context(), stored, pw)
	if err != nil {
		t.Errorf("Verify of %.20q: %v", stored, err)
	}
	return res.OK, res.NewHash
}

func cheapBcrypt(pepper password.KeySource) password.Config {
	return password.Config{Algorithm: password.Bcrypt, BcryptCost: 4, DangerouslyWeak: true, Pepper: pepper}
}

// x/crypto refuses to create a hash of more than 72 bytes, and verifies by the
// first 72.
func TestTrap_BcryptMatchesByTheFirst72Bytes(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-6.2.8")
	long := strings.Repeat("x", 72)
	raw, err := bcrypt.GenerateFromPassword([]byte(long), 4)
	if err != nil {
		t.Fatal(err)
	}
	if bcrypt.CompareHashAndPassword(raw, []byte(long+"anything")) != nil {
		t.Skip("x/crypto has closed the trap")
	}
	for name, h := range map[string]*password.Hasher{"argon2id": newHasher(t, password.Config{}), "bcrypt": newHasher(t, cheapBcrypt(nil))} {
		if ok, _ := verify(t, h, string(raw), long+"anything"); ok {
			t.Errorf("%s: a longer password matches by its beginning", name)
		}
		if ok, _ := verify(t, h, string(raw), long); !ok {
			t.Errorf("%s: the password itself does not match", name)
		}
	}
	h := newHasher(t, cheapBcrypt(nil))
	if _, err := h.Hash(t.Context(), long+"x"); !errors.Is(err, password.ErrTooLong) {
		t.Errorf("73 bytes without a pepper: %v", err)
	}
	peppered := newHasher(t, cheapBcrypt(newPepper("one")))
	stored := hash(t, peppered, long+"x")
	if ok, _ := verify(t, peppered, stored, long+"x"); !ok {
		t.Error("73 bytes with a pepper do not match")
	}
	if ok, _ := verify(t, peppered, stored, long+"y"); ok {
		t.Error("73 bytes with a pepper match by their first 72")
	}
}

// x/crypto takes a cost below 4 for 10, without a word.
func TestTrap_BcryptTakesACostThatIsTooLowForAnother(t *testing.T) {
	for _, cost := range []int{-1, 1, 3, 15, 31} {
		if _, err := password.New(password.Config{Algorithm: password.Bcrypt, BcryptCost: cost, DangerouslyWeak: true}); err == nil {
			t.Errorf("cost %d is accepted", cost)
		}
	}
	h := newHasher(t, cheapBcrypt(nil))
	if stored := hash(t, h, "secret"); !strings.HasPrefix(stored, "$2a$04$") {
		t.Errorf("not of the cost that was asked for: %.7s", stored)
	}
}

func TestBcryptOfOtherProgramsVerifiesAndIsReplaced(t *testing.T) {
	// crypt_blowfish, wrapper.c
	const ref = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
	h := newHasher(t, password.Config{})
	for _, v := range []string{"2a", "2b", "2y"} {
		stored := "$" + v + ref[3:]
		ok, fresh := verify(t, h, stored, "U*U")
		if !ok || !strings.HasPrefix(fresh, "$argon2id$") {
			t.Errorf("%s: %t, %q", v, ok, fresh)
		}
		if ok, _ := verify(t, h, fresh, "U*U"); !ok {
			t.Errorf("%s: the new hash does not verify", v)
		}
		if ok, fresh := verify(t, h, stored, "U*U*"); ok || fresh != "" {
			t.Errorf("%s: a wrong password: %t %q", v, ok, fresh)
		}
	}
	b := newHasher(t, password.Config{Algorithm: password.Bcrypt, BcryptCost: 5, DangerouslyWeak: true})
	if ok, fresh := verify(t, b, ref, "U*U"); !ok || fresh != "" {
		t.Errorf("a hash at the present cost: %t %q", ok, fresh)
	}
	if ok, fresh := verify(t, b, hash(t, newHasher(t, cheapBcrypt(nil)), "U*U"), "U*U"); !ok || !strings.HasPrefix(fresh, "$2a$05$") {
		t.Errorf("a hash at a lower cost: %t %q", ok, fresh)
	}
	if ok, fresh := verify(t, b, hash(t, h, "U*U"), "U*U"); !ok || fresh != "" {
		t.Errorf("argon2id under bcrypt: %t %q", ok, fresh)
	}
}

func TestPepperRotatesAsUsersLogIn(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-11.4.2")
	for name, cfg := range map[string]password.Config{"argon2id": {}, "bcrypt": cheapBcrypt(nil)} {
		t.Run(name, func(t *testing.T) {
			plain := hash(t, newHasher(t, cfg), "secret")
			keys := newPepper("one")
			cfg.Pepper = keys
			h := newHasher(t, cfg)
			ok, first := verify(t, h, plain, "secret")
			if !ok || !strings.Contains(first, "keyid=") {
				t.Errorf("a hash without pepper gets none: %t %q", ok, first)
			}
			if ok, fresh := verify(t, h, first, "secret"); !ok || fresh != "" {
				t.Errorf("a peppered hash: %t %q", ok, fresh)
			}
			if ok, _ := verify(t, h, first, "wrong"); ok {
				t.Error("a wrong password is right")
			}
			if _, err := newHasher(t, password.Config{Pepper: newPepper("another")}).Verify(t.Context(), first, "secret"); !errors.Is(err, password.ErrHash) {
				t.Errorf("under another pepper: %v", err)
			}
			keys.set("two", "one")
			ok, second := verify(t, h, first, "secret")
			if !ok || second == "" {
				t.Errorf("after the rotation: %t %q", ok, second)
			}
			keys.set("two")
			if ok, fresh := verify(t, h, second, "secret"); !ok || fresh != "" {
				t.Errorf("after the first key is gone: %t %q", ok, fresh)
			}
			if _, err := h.Verify(t.Context(), first, "secret"); !errors.Is(err, password.ErrHash) {
				t.Errorf("a hash whose key is gone: %v", err)
			}
			keys.set()
			if _, err := h.Verify(t.Context(), second, "secret"); !errors.Is(err, password.ErrPepper) {
				t.Errorf("without any key: %v", err)
			}
			if _, err := h.Hash(t.Context(), "secret"); !errors.Is(err, password.ErrPepper) {
				t.Errorf("Hash without any key: %v", err)
			}
		})
	}
}

// keysOf gives these keys whatever it is asked for.
type keysOf [][]byte

func (keysOf) Generation() uint64            { return 0 }
func (k keysOf) Derive(string, int) [][]byte { return k }

func TestWeakPeppersAreRefused(t *testing.T) {
	good := bytes.Repeat([]byte("0123456789abcdef"), 3)
	for name, keys := range map[string]keysOf{
		"none": {}, "short": {good[:47]}, "empty": {{}}, "all zero": {make([]byte, 48)}, "one byte": {bytes.Repeat([]byte{7}, 48)}, "twice the same": {good, good},
	} {
		_, err := password.New(password.Config{Pepper: keys})
		n := 0
		for f := range hardening.Faults(err) {
			n++
			if f.Field != "Pepper" || f.Value != hardening.Redacted {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if n != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := password.New(password.Config{Algorithm: 9, BcryptCost: 9}); err == nil {
		t.Error("no algorithm")
	}
}

// Formats that are stored are read for ever.
func TestPepperedVectors(t *testing.T) {
	h := newHasher(t, password.Config{Pepper: newPepper("pepper vector")})
	for _, stored := range []string{
		"$argon2id$v=19$m=64,t=1,p=1,keyid=YX1JLg$iy4cWpo+lhP+UlCdnUOqeg$lE/F7h0DRRnIG5QuKB9rpqRCizIjyC7v+6MnRrmsPdg",
		"$bcrypt-hmac-sha384$keyid=YX1JLg$2a$04$ZlNJtwcuBTQGcSftHi8QNu0sP/JMyEL0312Yd9p6p4TpqnXkYVAwy",
	} {
		if ok, _ := verify(t, h, stored, "correct horse"); !ok {
			t.Errorf("%s does not verify", stored)
		}
	}
}

func TestPolicy(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-6.2.4")
	alone, err := password.NewPolicy(password.PolicyConfig{Words: []string{"Zonnehuis"}})
	if err != nil {
		t.Fatal(err)
	}
	withMFA, err := password.NewPolicy(password.PolicyConfig{MinLength: 8})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		policy   *password.Policy
		password string
		want     error
	}{
		"fifteen characters are enough":                  {alone, "lantaarnpalen88", nil},
		"fourteen are not":                               {alone, "lantaarnpalen8", password.ErrTooShort},
		"eight are enough beside a second factor":        {withMFA, "vq8-hrtn", nil},
		"characters count, not bytes":                    {withMFA, "éééßßüü", password.ErrTooShort},
		"any character may be used":                      {withMFA, "🐙🐘🐞🦊🐢🦀🐍🐳", nil},
		"spaces and lower case alone are fine":           {alone, "only lower case here", nil},
		"1024 bytes":                                     {alone, strings.Repeat("abcdefgh1jklmno~", 64)[:1023] + "!", nil},
		"1025 bytes":                                     {alone, strings.Repeat("x", 1025), password.ErrTooLong},
		"not UTF-8":                                      {alone, "abcdefghijklmno\xff", password.ErrText},
		"the most common":                                {withMFA, "password", password.ErrCommon},
		"the most common in capitals":                    {withMFA, "PassWord", password.ErrCommon},
		"a common one twice":                             {alone, "passwordpassword", password.ErrCommon},
		"one character again and again":                  {alone, "aaaaaaaaaaaaaaaa", password.ErrCommon},
		"the name of the service":                        {alone, "zonnehuis-zonnehuis1", password.ErrContext},
		"the name of the user":                           {alone, "devries.hospital", password.ErrContext},
		"the name of the user as a part of much more":    {alone, "devries eats nine green lemons", nil},
		"a line break does not fool the list":            {withMFA, "\npassword", nil},
		"the list's own separators are no way around it": {withMFA, "password\n12345678", nil},
	} {
		err := c.policy.Accept(t.Context(), c.password, "a.devries@hospital.example", "Anna de Vries")
		if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = password.NewPolicy(password.PolicyConfig{Name: "a\nb", MinLength: 7, Words: []string{"portal", "abc"}, Breached: (*password.HIBP)(nil)})
	var fields []string
	for f := range hardening.Faults(err) {
		fields = append(fields, f.Field)
	}
	if got := strings.Join(fields, " "); got != "PolicyConfig.Name PolicyConfig.MinLength PolicyConfig.Words[1] PolicyConfig.Breached" {
		t.Errorf("faults of %s: %v", got, err)
	}
}

// rangeServer answers as Have I Been Pwned does.
func rangeServer(t *testing.T, answer http.HandlerFunc) (*password.HIBP, *password.Policy, *bytes.Buffer) {
	t.Helper()
	srv := httptest.NewTLSServer(answer)
	t.Cleanup(srv.Close)
	hibp, err := password.NewHIBP(password.HIBPConfig{URL: srv.URL + "/range/", Client: srv.Client(), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	log := new(bytes.Buffer)
	p, err := password.NewPolicy(password.PolicyConfig{Breached: hibp, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return hibp, p, log
}

func TestBreachedPasswordsAreRefused(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-6.2.12")
	const known, unknown = "a breached passphrase", "not a breached passphrase"
	sum := sha1.Sum([]byte(known))
	name := strings.ToUpper(hex.EncodeToString(sum[:]))
	var asked []string
	hibp, p, _ := rangeServer(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if r.Header.Get("Add-Padding") != "true" || r.Header.Get("User-Agent") == "" {
			t.Errorf("headers %v", r.Header)
		}
		fmt.Fprintf(w, "%s:0\r\n", strings.Repeat("0", 35)) // padding
		fmt.Fprintf(w, "%s:42\r\n", name[5:])
	})
	if n, err := hibp.Count(t.Context(), known); n != 42 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if err := p.Accept(t.Context(), known); !errors.Is(err, password.ErrBreached) {
		t.Errorf("known: %v", err)
	}
	if err := p.Accept(t.Context(), unknown); err != nil {
		t.Errorf("unknown: %v", err)
	}
	asked = nil
	if err := p.Accept(t.Context(), "short"); !errors.Is(err, password.ErrTooShort) || len(asked) != 0 {
		t.Errorf("the service heard of a password that is refused: %v %q", err, asked)
	}
	_ = p.Accept(t.Context(), known)
	if len(asked) != 1 || asked[0] != "/range/"+name[:5] {
		t.Errorf("the service learns %q", asked)
	}
}

func TestABreachServiceThatFailsRefusesNothingAndIsHeardOf(t *testing.T) {
	for what, answer := range map[string]http.HandlerFunc{
		"an error":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"a redirect":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "https://elsewhere.invalid/", 302) },
		"a web page":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>blocked</html>") },
		"a long line": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("A", 2<<20)) },
		"nothing":     func(http.ResponseWriter, *http.Request) {},
		"a flood, cut where a line ends": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat(strings.Repeat("0", 35)+":"+strings.Repeat("0", 26)+"1\n", 2<<20/64))
		},
		"negative": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%s:-1\n", strings.Repeat("0", 35)) },
	} {
		hibp, p, log := rangeServer(t, answer)
		if _, err := hibp.Count(t.Context(), "a fine long passphrase"); err == nil {
			t.Errorf("%s is believed", what)
		}
		if err := p.Accept(t.Context(), "a fine long passphrase"); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if !strings.Contains(log.String(), "store_degraded") {
			t.Errorf("%s: nobody heard of it: %s", what, log)
		}
	}
	hibp, err := password.NewHIBP(password.HIBPConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sum := sha1.Sum([]byte("secret"))
	if _, err := hibp.Count(ctx, "secret"); !errors.Is(err, context.Canceled) || strings.Contains(strings.ToUpper(err.Error()), strings.ToUpper(hex.EncodeToString(sum[:]))[:5]) {
		t.Errorf("%v", err)
	}
	for _, u := range []string{"http://example.com/range/", "https://example.com/range", "ftp://x/", "https://u:p@example.com/", "https://example.com/?a=", "https://example.com/range/?", "https://example.com/range/#", "https://example.com/range/#x/", ":"} {
		if _, err := password.NewHIBP(password.HIBPConfig{URL: u}); err == nil {
			t.Errorf("%s is accepted", u)
		}
	}
	if _, err := password.NewHIBP(password.HIBPConfig{Timeout: -1}); err == nil {
		t.Error("a negative timeout is accepted")
	}
}
