package benchmarks

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	ululehttp "github.com/ulule/limiter/v3/drivers/middleware/stdlib"
)

// accessAttrs is one access to a patient's record, as the last handler of
// every chain logs it: who, in which role, did what to whom, from where.
func accessAttrs(user string, r *http.Request) []slog.Attr {
	return []slog.Attr{
		slog.String("actor", user),
		slog.String("actor_role", "doctor"),
		slog.String("actor_org", "cardiology"),
		slog.String("subject", "999911120"),
		slog.String("object_type", "record"),
		slog.String("object", "42"),
		slog.String("action", "R"),
		slog.String("outcome", "success"),
		slog.String("client_addr", "192.0.2.10"),
		slog.String("request_id", "QWERTZUIOPASDFGHJKLYXCVBNM"),
		slog.String("path", r.URL.Path),
	}
}

// accessHandler stands at the end of a chain: it reads the session, writes
// the access event, then answers.
func accessHandler(log *slog.Logger, session func(*http.Request) (string, visit, bool)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, v, ok := session(r)
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		log.LogAttrs(r.Context(), slog.LevelWarn, "sensitive_read", accessAttrs(user, r)...)
		right(w, user, v)
	})
}

// chain is a whole service's worth of middleware and a request that passes it.
type chain func(tb testing.TB, out io.Writer) (http.Handler, *http.Request)

// peersChain puts the peers together as their documentation says. It writes
// the event as plain slog JSON: it redacts nothing.
func peersChain(tb testing.TB, out io.Writer) (http.Handler, *http.Request) {
	rig := scsRig(tb)
	log := slog.New(slog.NewJSONHandler(out, nil))
	limited := ululehttp.NewMiddleware(newUlule()).Handler(accessHandler(log, rig.visitOf))
	return unrolledNonce().Handler(rig.wrap(limited)), rig.loggedIn(tb)
}

// handwrittenChain is what a careful team would write for itself: the limits
// of the other benchmarks, and slog JSON with a list of keys to redact.
func handwrittenChain(tb testing.TB, out io.Writer) (http.Handler, *http.Request) {
	rig := limitRig(tb)
	redacted := map[string]bool{"password": true, "token": true, "cookie": true, "authorization": true, "bsn": true, "session": true}
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if redacted[a.Key] {
			return slog.String(a.Key, "[redacted]")
		}
		return a
	}}))
	limited := newLimitTable(perHour, time.Hour).middleware(accessHandler(log, rig.visitOf))
	return limitWithNonce(rig.wrap(limited)), rig.loggedIn(tb)
}

var chains = []struct {
	name  string
	chain chain
}{
	{"handwritten", handwrittenChain},
	{"peers", peersChain},
}

// The whole chain in memory: headers with a nonce, a limit by address, the
// session read, the access event encoded and thrown away. Not durable.
func BenchmarkChain(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		for _, c := range chains {
			b.Run(c.name, func(b *testing.B) {
				h, r := c.chain(b, io.Discard)
				serve(b, h, r)
			})
		}
	})
}

// Every chain must send the policy, count the request, know the user and log
// the access.
func TestChainsDoTheirWork(t *testing.T) {
	for _, c := range chains {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			h, r := c.chain(t, &out)
			w := newResponse()
			h.ServeHTTP(w, r)
			if w.status != http.StatusOK {
				t.Fatalf("status %d", w.status)
			}
			if csp := w.header.Get("Content-Security-Policy"); !strings.Contains(csp, "'nonce-") {
				t.Errorf("Content-Security-Policy %q has no nonce", csp)
			}
			var event map[string]any
			if err := json.Unmarshal(out.Bytes(), &event); err != nil {
				t.Fatalf("%v in %s", err, &out)
			}
			for key, want := range map[string]string{"actor": sessionUser, "action": "R", "object": "42", "msg": "sensitive_read"} {
				if event[key] != want {
					t.Errorf("%s is %v in the event, want %s", key, event[key], want)
				}
			}
			w.reset()
			h.ServeHTTP(w, httpsRequest("/records/42"))
			if w.status != http.StatusUnauthorized {
				t.Errorf("status %d without a session", w.status)
			}
		})
	}
}
