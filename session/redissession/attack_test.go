package redissession_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/internal/testenv"
	"github.com/inovy/hardening/session"
	"github.com/inovy/hardening/session/redissession"
)

// server is a Redis of one test, that may be killed, filled and demoted.
type server struct {
	addr  string
	admin *redis.Client
	cmd   *exec.Cmd
}

func newServer(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String()}
	_ = l.Close()
	s.admin = redis.NewClient(&redis.Options{Addr: s.addr, ContextTimeoutEnabled: true, MaxRetries: 100, MaxRetryBackoff: 100 * time.Millisecond})
	t.Cleanup(func() { _ = s.admin.Close(); s.kill() })
	s.start(t)
	return s
}

func (s *server) start(t *testing.T) {
	t.Helper()
	bin := testenv.Program(t, "apt-get install redis-server", "redis-server")
	_, port, _ := net.SplitHostPort(s.addr)
	s.cmd = exec.Command(bin, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir()) // #nosec G204 -- a test's own server
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.admin.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *server) client(t *testing.T) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.addr, ContextTimeoutEnabled: true, MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: time.Second})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func inCookies(t *testing.T, store *redissession.Store) *session.Manager[visit] {
	t.Helper()
	c, err := session.NewCookieStore(session.CookieStoreConfig{Ended: store})
	if err != nil {
		t.Fatal(err)
	}
	return newManager(t, c)
}

func logout(t *testing.T, m *session.Manager[visit], id string) {
	t.Helper()
	call(m, id, func(_ http.ResponseWriter, r *http.Request) {
		if err := m.Logout(r.Context()); err != nil {
			t.Errorf("Logout: %v", err)
		}
	})
}

// A Redis without its memory knows no logouts: whoever it forgot is logged out.
func TestTrap_AFlushBringsLogoutsBack(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.1")
	for name, open := range places {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			store := newStore(t, p.client)
			for kind, m := range map[string]*session.Manager[visit]{"kept": newManager(t, store), "in cookies": inCookies(t, store)} {
				left, alive := login(t, m, ""), login(t, m, "")
				logout(t, m, left)
				if user, _ := look(t, m, alive); user != "ada" {
					t.Fatalf("%s: a session that nobody ended has ended", kind)
				}
				wipe(p.admin)
				for what, id := range map[string]string{"logged out": left, "alive": alive} {
					if user, _ := look(t, m, id); user != "" {
						t.Errorf("%s: the one that was %s is %q after the flush", kind, what, user)
					}
				}
				again := login(t, m, alive)
				for what, id := range map[string]string{"logged out": left, "alive": alive} {
					if user, _ := look(t, m, id); user != "" {
						t.Errorf("%s: the one that was %s is %q after a new login", kind, what, user)
					}
				}
				if user, _ := look(t, m, again); user != "ada" {
					t.Errorf("%s: nobody can log in any more", kind)
				}
				wantTidy(t, p)
			}
		})
	}
}

// A server whose clock was set back has stamps of the future.
func TestTrap_ARevocationMissesStampsOfTheFuture(t *testing.T) {
	for name, open := range places {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			store := newStore(t, p.client)
			ref := session.Ref{Tag: session.Tag{7}}
			now := time.Now()
			if _, err := store.Begin(t.Context(), ref, now, now.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			ahead := now.Add(time.Hour).UnixMicro()
			if err := p.admin.Set(t.Context(), namespace+":{07}:l", ahead, time.Hour).Err(); err != nil {
				t.Fatal(err)
			}
			for what, revoke := range map[string]func() error{
				"Revoke": func() error {
					_, err := store.Revoke(t.Context(), session.Revocation{Tags: []session.Tag{ref.Tag}, At: time.Now(), Until: now.Add(time.Hour)})
					return err
				},
				"RevokeAll": func() error { return store.RevokeAll(t.Context(), time.Now(), now.Add(time.Hour)) },
			} {
				stamp, err := store.Begin(t.Context(), ref, now.Add(3*time.Hour), now.Add(4*time.Hour))
				if err != nil || stamp.UnixMicro() < ahead {
					t.Fatalf("%s: Begin: %v, %v", what, stamp, err)
				}
				if err := revoke(); err != nil {
					t.Fatal(err)
				}
				if ended, err := store.Ended(t.Context(), ref, stamp); !ended || err != nil {
					t.Errorf("%s: Ended: %t, %v", what, ended, err)
				}
			}
		})
	}
}

func TestScriptsThatAreFlushedWhileTheyAreUsedAreSentAgain(t *testing.T) {
	s := newServer(t)
	m := newManager(t, newStore(t, s.client(t)))
	id := login(t, m, "")
	ctx, stop := context.WithCancel(t.Context())
	var flushing sync.WaitGroup
	flushing.Go(func() {
		for ctx.Err() == nil {
			if err := s.admin.ScriptFlush(context.WithoutCancel(ctx)).Err(); err != nil {
				t.Error(err)
			}
		}
	})
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			for range 25 {
				if status := increment(m, id); status != 200 {
					t.Errorf("status %d", status)
				}
			}
		})
	}
	users.Wait()
	stop()
	flushing.Wait()
	if _, n := look(t, m, id); n != 200 {
		t.Errorf("%d of 200 changes", n)
	}
}

func TestARedisThatIsFullStillLogsOut(t *testing.T) {
	s := newServer(t)
	m := newManager(t, newStore(t, s.client(t)))
	id, other := login(t, m, ""), login(t, m, "")
	if err := s.admin.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if user, _ := look(t, m, id); user != "ada" {
		t.Error("a session cannot be read")
	}
	res := call(m, "", func(w http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), "ada", session.Auth{}); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("Login: %v", err)
		}
		_, _ = w.Write([]byte("SECRET"))
	})
	if res.StatusCode != 503 || len(res.Cookies()) != 0 {
		t.Errorf("status %d and %d cookies", res.StatusCode, len(res.Cookies()))
	}
	if status := increment(m, id); status != 503 {
		t.Errorf("a change that cannot be kept: status %d", status)
	}
	logout(t, m, id)
	if n, err := m.RevokeUser(t.Context(), "ada"); n != 1 || err != nil { // it frees before it writes
		t.Errorf("RevokeUser: %d, %v", n, err)
	}
	for _, id := range []string{id, other} {
		if user, _ := look(t, m, id); user != "" {
			t.Errorf("%s came back", user)
		}
	}
}

func TestAReplicaIs503ForWritesAndNoWayBack(t *testing.T) {
	s, primary := newServer(t), newServer(t)
	m := newManager(t, newStore(t, s.client(t)))
	id := login(t, m, "")
	host, port, _ := net.SplitHostPort(primary.addr)
	primary.kill() // a primary that is away, so that the replica keeps what it has
	if err := s.admin.Do(t.Context(), "REPLICAOF", host, port).Err(); err != nil {
		t.Fatal(err)
	}
	res := call(m, id, func(w http.ResponseWriter, r *http.Request) {
		if err := m.Logout(r.Context()); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("Logout: %v", err)
		}
		_, _ = w.Write([]byte("SECRET"))
	})
	if res.StatusCode != 503 {
		t.Errorf("Logout on a replica: status %d", res.StatusCode)
	}
	if status := increment(m, id); status != 503 {
		t.Errorf("a change on a replica: status %d", status)
	}
	if err := s.admin.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	logout(t, m, id)
	if user, _ := look(t, m, id); user != "" {
		t.Error("it came back")
	}
}

// A server is killed while requests run and comes back empty.
func TestARestartInTheMiddleOfARequest(t *testing.T) {
	s := newServer(t)
	store := newStore(t, s.client(t))
	for kind, m := range map[string]*session.Manager[visit]{"kept": newManager(t, store), "in cookies": inCookies(t, store)} {
		id := login(t, m, "")
		res := call(m, id, func(w http.ResponseWriter, r *http.Request) {
			v, _ := m.Get(r.Context())
			if v.User() != "ada" {
				t.Errorf("%s: the request is %q's", kind, v.User())
			}
			s.kill()
			if err := v.Update(func(v *visit) { v.Count = 99 }); err != nil {
				t.Errorf("%s: Update: %v", kind, err)
			}
			_, _ = w.Write([]byte("SECRET"))
		})
		if res.StatusCode != 503 {
			t.Errorf("%s: status %d while the server is away", kind, res.StatusCode)
		}
		var lines strings.Builder
		_ = res.Header.Write(&lines)
		if strings.Contains(lines.String(), "Set-Cookie") {
			t.Errorf("%s: a cookie of a change that was not kept", kind)
		}
		s.start(t)
		if user, _ := look(t, m, id); user != "" {
			t.Errorf("%s: %q outlived what knew of it", kind, user)
		}
		if user, _ := look(t, m, login(t, m, id)); user != "ada" {
			t.Errorf("%s: nobody can log in any more", kind)
		}
	}
}
