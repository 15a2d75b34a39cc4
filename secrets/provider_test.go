package secrets_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/secrets"
)

type providerFunc func(ctx context.Context, name string) (secrets.Secret, secrets.Meta, error)

func (f providerFunc) Fetch(ctx context.Context, name string) (secrets.Secret, secrets.Meta, error) {
	return f(ctx, name)
}

// rotating is a Provider whose values all change together.
type rotating struct {
	mu  sync.Mutex
	gen int
	mix int // so many answers from now on are each followed by a rotation
}

func (r *rotating) Fetch(_ context.Context, name string) (secrets.Secret, secrets.Meta, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, meta := secrets.NewSecret(fmt.Sprintf("%s-Zx8Cv5Bn2Mq9Wd4Eh-%04d", name, r.gen)), secrets.Meta{Version: fmt.Sprint(r.gen)}
	if r.mix > 0 {
		r.mix--
		r.gen++
	}
	return s, meta, nil
}

func TestAUserOfBeforeARotationNeverComesWithThePasswordOfAfterIt(t *testing.T) {
	type config struct {
		User     *secrets.Live `secret:"DB_USER,kind=token"`
		Password *secrets.Live `secret:"DB_WORD,kind=token"`
	}
	generations := func(cfg config) (string, string) {
		both := secrets.Together(cfg.User, cfg.Password)
		user, word := secrets.Expose(both[0]), secrets.Expose(both[1])
		return user[len(user)-4:], word[len(word)-4:]
	}
	p := &rotating{gen: 1, mix: 1}
	var cfg config
	opts := from(secrets.From("vault", p))
	l, err := secrets.Load(t.Context(), &cfg, opts)
	check(t, err)
	defer l.Close()
	if u, w := generations(cfg); u != "0002" || w != "0002" {
		t.Errorf("loaded %s and %s", u, w)
	}
	p.mix = 1
	check(t, l.Reload(t.Context()))
	if u, w := generations(cfg); u != "0003" || w != "0003" {
		t.Errorf("reloaded %s and %s", u, w)
	}
	p.mix = 1000
	if err := l.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "kept changing") {
		t.Errorf("a provider that never settles: %v", err)
	}
	if u, w := generations(cfg); u != "0003" || w != "0003" {
		t.Errorf("after a failed reload %s and %s", u, w)
	}
	if _, err := secrets.Load(t.Context(), new(config), opts); err == nil || !strings.Contains(err.Error(), "kept changing") {
		t.Errorf("a load from a provider that never settles: %v", err)
	}
}

func TestASlowAnswerDoesNotBringAnOldSecretBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gen atomic.Int64
		gen.Store(1)
		var hold atomic.Pointer[chan struct{}]
		p := providerFunc(func(_ context.Context, name string) (secrets.Secret, secrets.Meta, error) {
			s := secrets.NewSecret(fmt.Sprintf("%s-Zx8Cv5Bn2Mq9Wd4Eh-%04d", name, gen.Load()))
			if wait := hold.Swap(nil); wait != nil {
				<-*wait
			}
			return s, secrets.Meta{}, nil
		})
		var cfg struct {
			L *secrets.Live `secret:"L,kind=token"`
		}
		l, err := secrets.Load(t.Context(), &cfg, from(secrets.From("vault", p)))
		check(t, err)
		defer l.Close()
		wait := make(chan struct{})
		hold.Store(&wait)
		var both sync.WaitGroup
		both.Go(func() { check(t, l.Reload(t.Context())) })
		synctest.Wait() // the first has the old value in its hand
		gen.Store(2)
		both.Go(func() { check(t, l.Reload(t.Context())) })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		impatient := make(chan error)
		go func() { impatient <- l.Reload(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-impatient; err == nil {
			t.Error("a Reload whose context ended while it waited for another says that all is well")
		}
		close(wait)
		both.Wait()
		if got := secrets.Expose(cfg.L.Get()); !strings.HasSuffix(got, "0002") {
			t.Errorf("the value in use is %s", got)
		}
	})
}

func TestTheVaultExampleGivesItsTokenToNoOtherHost(t *testing.T) {
	var got atomic.Pointer[string]
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		token := r.Header.Get("X-Vault-Token")
		got.Store(&token)
	}))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	v := &VaultKV{Address: server.URL, Path: "secret/data/a", Token: secrets.NewSecret("hvs.the-token"), Client: &http.Client{}}
	if _, _, err := v.Fetch(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "answered 307") {
		t.Errorf("a redirect gives %v", err)
	}
	if token := got.Load(); token != nil {
		t.Errorf("the other host was asked, with the token %q", *token)
	}
}

// Nobody reloads in time: that a Secret waits for a restart is told by the next
// timed look.
func TestATimedLookFindsTheSecretThatWaitsForARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type config struct {
			User     secrets.Secret `secret:"DB_USER,kind=token"`
			Password *secrets.Live  `secret:"DB_WORD,kind=token"`
		}
		p := &rotating{gen: 1}
		var cfg config
		opts := from(secrets.From("vault", p))
		opts.FetchInterval = time.Minute
		l, err := secrets.Load(t.Context(), &cfg, opts)
		check(t, err)
		if f := byID(t, l)["HDN-SECRETS-021"]; !f.Passed {
			t.Errorf("before the rotation: %s", f)
		}
		p.mu.Lock()
		p.gen++
		p.mu.Unlock()
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if f := byID(t, l)["HDN-SECRETS-021"]; f.Passed || !strings.Contains(f.Observed, "DB_USER") {
			t.Errorf("after it: %s", f)
		}
		if got := secrets.Expose(cfg.Password.Get()); !strings.HasSuffix(got, "0002") {
			t.Errorf("the Live field has %s", got[len(got)-4:])
		}
		check(t, l.Close())
	})
}
