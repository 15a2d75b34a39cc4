package tlsconfig_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

// ring is a KeySource as secrets.Ring is one: root keys, the primary first.
type ring struct {
	mu         sync.Mutex
	roots      []string
	generation uint64
	length     int // 0 = as asked
}

func (r *ring) set(roots ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roots = roots
	r.generation++
}

func (r *ring) Generation() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.generation
}

func (r *ring) Derive(purpose string, n int) (out [][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.length > 0 {
		n = r.length
	}
	for _, root := range r.roots {
		sum := sha256.Sum256([]byte(root + "|" + purpose))
		out = append(out, sum[:n])
	}
	return out
}

// oneTicket is a client's cache that offers its session to every name.
type oneTicket struct{ session *tls.ClientSessionState }

func (c *oneTicket) Get(string) (*tls.ClientSessionState, bool)    { return c.session, c.session != nil }
func (c *oneTicket) Put(_ string, session *tls.ClientSessionState) { c.session = session }

// inMemory does a handshake over a pipe.
func inMemory(t testing.TB, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := tls.Server(near, server)
		defer s.Close()
		io.CopyN(s, s, 1)
	}()
	defer func() { <-done }()
	defer near.Close()
	c := tls.Client(far, client)
	defer far.Close()
	if _, err := c.Write([]byte{1}); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return tls.ConnectionState{}, err
	}
	return c.ConnectionState(), nil
}

// SetSessionTicketKeys on the configuration that is given to http.Server has no
// effect, because ServeTLS clones it. Hooks survive: a client resumes on
// another node that has the same keys.
func TestTrap_TicketKeysSurviveTheCloneOfServeTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			ca := newAuthority(t)
			node := func(name string, keys tlsconfig.KeySource) string {
				s := started(t, tlsconfig.ServerConfig{Name: name, Certs: certs(ca.good("a.test")), TicketKeys: keys})
				return serve(t, s.HTTPServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), serveTLS)
			}
			resumes := func(cache tls.ClientSessionCache, addr string) bool {
				t.Helper()
				tr := &http.Transport{TLSClientConfig: &tls.Config{ServerName: "a.test", RootCAs: ca.pool(), ClientSessionCache: cache, MaxVersion: version}}
				defer tr.CloseIdleConnections()
				res, err := (&http.Client{Transport: tr}).Get("https://" + addr)
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				return res.TLS.DidResume
			}
			one, two := &ring{roots: []string{"k1"}}, &ring{roots: []string{"k1"}}
			for _, tt := range []struct {
				name string
				addr string
				want bool
			}{
				{"the same keys", node("portal", two), true},
				{"the same keys, another name", node("admin", two), false},
				{"other keys", node("portal", &ring{roots: []string{"k2"}}), false},
				{"keys of its own", node("portal", nil), false},
				{"the primary now opens only", node("portal", &ring{roots: []string{"k2", "k1"}}), true},
			} {
				cache := new(oneTicket)
				if resumes(cache, node("portal", one)) {
					t.Fatal("resumed without a ticket")
				}
				if got := resumes(cache, tt.addr); got != tt.want {
					t.Errorf("%s: resumed %t", tt.name, got)
				}
			}
		})
	}
}

func TestATicketIsGoodForTheNameItWasGivenFor(t *testing.T) {
	t.Attr("control", "RFC 8446 4.6.1")
	ca := newAuthority(t)
	s := started(t, tlsconfig.ServerConfig{Certs: certs(ca.good("a.test", "b.test"), ca.good("c.test"))})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, want := range map[string]bool{"a.test": true, "b.test": false} {
			client := &tls.Config{RootCAs: ca.pool(), ClientSessionCache: new(oneTicket), MaxVersion: version}
			for i, ask := range []string{"a.test", name, name} {
				client.ServerName = ask
				cs, err := inMemory(t, s.TLS(), client)
				if err != nil {
					t.Fatal(err)
				}
				if i == 1 && cs.DidResume != want {
					t.Errorf("%s: a ticket for a.test resumed %t at %s", tls.VersionName(version), cs.DidResume, name)
				}
				if i == 2 && !cs.DidResume {
					t.Errorf("%s: %s does not resume with its own ticket", tls.VersionName(version), name)
				}
			}
		}
	}
}

func TestTicketsLastTwoEpochsAfterTheirOwn(t *testing.T) {
	t.Attr("control", "RFC 9325 7.4")
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{
		{time.Minute, true}, {11 * time.Hour, true}, {13 * time.Hour, true}, {35*time.Hour + 50*time.Minute, true}, {36*time.Hour + time.Minute, false}, {6 * 24 * time.Hour, false},
	} {
		t.Run(tt.after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the bubble's clock begins at midnight UTC, where an epoch begins
				ca := newAuthority(t)
				s := started(t, tlsconfig.ServerConfig{Certs: certs(ca.good("a.test")), TicketKeys: &ring{roots: []string{"k"}}, PollInterval: 24 * time.Hour})
				cfg := s.TLS()
				client := &tls.Config{ServerName: "a.test", RootCAs: ca.pool(), ClientSessionCache: new(oneTicket)}
				if _, err := inMemory(t, cfg, client); err != nil {
					t.Fatal(err)
				}
				time.Sleep(tt.after)
				cs, err := inMemory(t, cfg, client)
				if err != nil || cs.DidResume != tt.want {
					t.Errorf("resumed %t, %v", cs.DidResume, err)
				}
			})
		})
	}
}

func TestTicketsFollowTheRing(t *testing.T) {
	ca, keys := newAuthority(t), &ring{roots: []string{"k1"}}
	s := started(t, tlsconfig.ServerConfig{Certs: certs(ca.good("a.test")), TicketKeys: keys})
	cfg := s.TLS()
	client := &tls.Config{ServerName: "a.test", RootCAs: ca.pool(), ClientSessionCache: new(oneTicket)}
	resumes := func() bool {
		t.Helper()
		cs, err := inMemory(t, cfg, client)
		if err != nil {
			t.Fatal(err)
		}
		return cs.DidResume
	}
	resumes()
	if !resumes() {
		t.Fatal("not resumed")
	}
	keys.set("k2", "k1")
	if !resumes() {
		t.Error("a key that retires must still open")
	}
	keys.set("k2")
	if !resumes() {
		t.Error("the ticket was not sealed anew with the new primary")
	}
	keys.set("k3")
	if resumes() {
		t.Error("a key that is gone still opens")
	}

	if f := find(t, s.Check(), "HDN-TLS-033"); !f.Passed || !strings.Contains(f.Observed, "TicketKeys") {
		t.Errorf("%v", f)
	}
	keys.set() // the ring is empty: handshakes go on
	resumes()
	if !resumes() {
		t.Error("keys of this process do not stand in")
	}
	if f := find(t, s.Check(), "HDN-TLS-033"); f.Passed {
		t.Errorf("%v", f)
	}
	keys.set("k4")
	resumes()
	if f := find(t, s.Check(), "HDN-TLS-033"); !f.Passed {
		t.Errorf("%v", f)
	}
}

func TestForgedTicketsMakeAFullHandshake(t *testing.T) {
	ca := newAuthority(t)
	cfg := started(t, tlsconfig.ServerConfig{Certs: certs(ca.good("a.test"))}).TLS()
	for _, ticket := range [][]byte{nil, {0}, bytes.Repeat([]byte{0xff}, 500)} {
		if ss, err := cfg.UnwrapSession(ticket, tls.ConnectionState{ServerName: "a.test"}); ss != nil || err != nil {
			t.Errorf("%v %v", ss, err)
		}
	}
}

func TestFaultsOfTicketKeys(t *testing.T) {
	site := newSite(t, "a.test")
	for want, keys := range map[string]tlsconfig.KeySource{
		"derives no key": &ring{},
		"another length": &ring{roots: []string{"canary-secret"}, length: 16},
		"a key of zeros": zeros{},
	} {
		_, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: certs(site.source()), TicketKeys: keys})
		n := 0
		for f := range hardening.Faults(err) {
			n++
			if f.Field != "TicketKeys" || f.Value != hardening.Redacted || !strings.Contains(f.Reason, want) || f.Fix == "" {
				t.Errorf("%+v", f)
			}
		}
		if n != 1 {
			t.Errorf("%q: %v", want, err)
		}
	}
	for _, profile := range []tlsconfig.Profile{tlsconfig.NCSC, tlsconfig.NCSCStrict} {
		s := started(t, tlsconfig.ServerConfig{Profile: profile, Certs: certs(site.source()), TicketKeys: &ring{}})
		if cfg := s.TLS(); !cfg.SessionTicketsDisabled || cfg.WrapSession != nil {
			t.Errorf("%v sends tickets", profile)
		}
		if f := find(t, s.Check(), "HDN-TLS-033"); !f.Passed || f.Observed != "no tickets" {
			t.Errorf("%v", f)
		}
	}
}

type zeros struct{}

func (zeros) Derive(_ string, n int) [][]byte { return [][]byte{make([]byte, n)} }
func (zeros) Generation() uint64              { return 0 }

// Tickets must keep working while keys move under load.
func TestTicketsUnderConcurrentRotation(t *testing.T) {
	ca, keys := newAuthority(t), &ring{roots: []string{"k0"}}
	cfg := started(t, tlsconfig.ServerConfig{Certs: certs(ca.good("a.test")), TicketKeys: keys}).TLS()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			client := &tls.Config{ServerName: "a.test", RootCAs: ca.pool(), ClientSessionCache: new(oneTicket)}
			for range 25 {
				if _, err := inMemory(t, cfg, client); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 50 {
		keys.set(fmt.Sprintf("k%d", i+1), fmt.Sprintf("k%d", i))
		runtime.Gosched()
	}
	wg.Wait()
}

func TestFindingTheTicketKeysDoesNotAllocate(t *testing.T) {
	tickets := tlsconfig.NewTickets(&ring{roots: []string{"k"}})
	if n := testing.AllocsPerRun(100, func() { tickets() }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
}
