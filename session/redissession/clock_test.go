package redissession_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/session"
)

// A replica takes over whose clock is behind, or the clock was stepped back: a
// mark that says "now" would be before sessions that are alive.
func TestTrap_ARevocationMissesSessionsOfAClockThatWasAhead(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.5")
	const behind = time.Second
	for name, c := range map[string]struct {
		prepare func(t *testing.T, m *session.Manager[visit], admin *redis.Client, id string)
		back    bool // the clock goes back only after prepare
		revoke  func(t *testing.T, m *session.Manager[visit]) error
	}{
		"RevokeAll": {
			prepare: func(*testing.T, *session.Manager[visit], *redis.Client, string) {}, back: true,
			revoke: func(t *testing.T, m *session.Manager[visit]) error { return m.RevokeAll(t.Context()) },
		},
		"RevokeUser without its index": {
			prepare: func(t *testing.T, _ *session.Manager[visit], admin *redis.Client, _ string) {
				keys, err := admin.Keys(t.Context(), namespace+":*:u:*").Result()
				if err != nil || len(keys) != 1 {
					t.Fatalf("%q, %v", keys, err)
				}
				if err := admin.Del(t.Context(), keys...).Err(); err != nil {
					t.Fatal(err)
				}
			}, back: true,
			revoke: func(t *testing.T, m *session.Manager[visit]) error {
				_, err := m.RevokeUser(t.Context(), "ada")
				return err
			},
		},
		"RevokeAll after RevokeOthers": {
			prepare: func(t *testing.T, m *session.Manager[visit], _ *redis.Client, id string) {
				call(m, id, func(_ http.ResponseWriter, r *http.Request) {
					if _, err := m.RevokeOthers(r.Context()); err != nil {
						t.Error(err)
					}
				})
			},
			revoke: func(t *testing.T, m *session.Manager[visit]) error { return m.RevokeAll(t.Context()) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv, err := miniredis.Run()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(srv.Close)
			client := redis.NewClient(&redis.Options{Addr: srv.Addr(), ContextTimeoutEnabled: true})
			t.Cleanup(func() { _ = client.Close() })
			m := newManager(t, newStore(t, client))
			now := time.Now()
			srv.SetTime(now)
			id := login(t, m, "")
			if !c.back {
				srv.SetTime(now.Add(-behind))
			}
			c.prepare(t, m, client, id)
			if user, _ := look(t, m, id); user != "ada" {
				t.Fatal("the session ended before it was revoked")
			}
			srv.SetTime(now.Add(-behind))
			if err := c.revoke(t, m); err != nil {
				t.Fatal(err)
			}
			if user, _ := look(t, m, id); user != "" {
				t.Errorf("the session of %s outlives the revocation", user)
			}
			srv.SetTime(now.Add(behind)) // the clock has caught up
			if user, _ := look(t, m, id); user != "" {
				t.Errorf("the session of %s is back", user)
			}
			if user, _ := look(t, m, login(t, m, "")); user != "ada" {
				t.Error("nobody can log in any more")
			}
			wantTidy(t, place{client: client, admin: client})
		})
	}
}

// The stamp that revocations go by stays for as long as any session it speaks for.
func TestTheLastStampOutlivesTheSessions(t *testing.T) {
	for name, open := range places {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			store := newStore(t, p.client)
			ref, now := session.Ref{Tag: session.Tag{9}, Hash: [32]byte{1}}, time.Now()
			stays := func(after string, atLeast time.Duration) {
				t.Helper()
				if left, err := p.admin.PTTL(t.Context(), namespace+":{09}:l").Result(); err != nil || left < atLeast-time.Minute {
					t.Errorf("after %s the last stamp stays for %v, %v", after, left, err)
				}
			}
			rec := session.Record{Version: 1, Born: now, Expires: now.Add(time.Hour), Blob: []byte("x")}
			if _, err := store.Create(t.Context(), ref, rec, session.Quota{}); err != nil {
				t.Fatal(err)
			}
			stays("Create", time.Hour)
			if err := store.Touch(t.Context(), ref, now.Add(2*time.Hour)); err != nil {
				t.Fatal(err)
			}
			stays("Touch", 2*time.Hour)
			rec.Expires = now.Add(3 * time.Hour)
			if err := store.Update(t.Context(), ref, rec); err != nil {
				t.Fatal(err)
			}
			stays("Update", 3*time.Hour)
		})
	}
}
