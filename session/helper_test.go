package session_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inovy/hardening/session"
)

// visit is what the tests remember in a session.
type visit struct {
	Count int                 `json:"count,omitempty"`
	Note  string              `json:"note,omitempty"`
	Tags  map[string][]string `json:"tags,omitempty"`
}

func newManager(t testing.TB, cfg session.Config) *session.Manager[visit] {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Store == nil {
		cfg.Store = storeOfThisRun(t)
	}
	m, err := session.New[visit](cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ring is a KeySource as secrets.Ring is one: root keys, the primary first.
type ring struct {
	mu         sync.Mutex
	roots      [][]byte
	generation uint64
}

func newRing(roots ...string) *ring {
	r := new(ring)
	r.set(roots...)
	return r
}

func (r *ring) set(roots ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roots = nil
	for _, s := range roots {
		r.roots = append(r.roots, []byte(s))
	}
	r.generation++
}

func (r *ring) Generation() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.generation
}

func (r *ring) Derive(purpose string, n int) [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys [][]byte
	for _, root := range r.roots {
		h := hmac.New(sha256.New, root)
		h.Write([]byte(purpose))
		keys = append(keys, h.Sum(nil)[:n])
	}
	return keys
}

// browser keeps cookies and talks HTTPS to a handler.
type browser struct {
	t      testing.TB
	client *http.Client
	base   string
}

// serve starts a TLS server with the manager around h.
func serve(t testing.TB, m *session.Manager[visit], h http.Handler) *httptest.Server {
	t.Helper()
	return newServer(t, m.Wrap(h))
}

// newServer starts a TLS server that keeps quiet about panics.
func newServer(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

func newBrowser(t testing.TB, srv *httptest.Server) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := *srv.Client()
	c.Jar = jar
	return &browser{t: t, client: &c, base: srv.URL}
}

// get returns status and body.
func (b *browser) get(path string) (int, string) {
	b.t.Helper()
	res, body := b.do(path)
	return res.StatusCode, body
}

func (b *browser) do(path string) (*http.Response, string) {
	b.t.Helper()
	res, err := b.client.Get(b.base + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res, string(body)
}

// call runs one request with the cookie value through m, without a network.
func call(m *session.Manager[visit], cookie string, h http.HandlerFunc) *http.Response {
	r := httptest.NewRequest("GET", "https://portal.example/", nil)
	if cookie != "" {
		r.Header.Set("Cookie", "__Host-id="+cookie)
	}
	return callWith(m, r, h)
}

func callWith(m *session.Manager[visit], r *http.Request, h http.HandlerFunc) *http.Response {
	w := httptest.NewRecorder()
	m.Wrap(h).ServeHTTP(w, r)
	return w.Result()
}

// issued returns the session id that a response carries, or "".
func issued(res *http.Response) string {
	for _, c := range res.Cookies() {
		if c.Name == "__Host-id" {
			return c.Value
		}
	}
	return ""
}

// login makes a session for user and returns its cookie value.
func login(t testing.TB, m *session.Manager[visit], cookie, user string) string {
	t.Helper()
	res := call(m, cookie, func(_ http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), user, session.Auth{Methods: []string{"pwd"}, AAL: 1}); err != nil {
			t.Errorf("login of %s: %v", user, err)
		}
	})
	id := issued(res)
	if id == "" {
		t.Fatal("the login issued no cookie")
	}
	return id
}

// look returns what a request with the cookie is told.
func look(t testing.TB, m *session.Manager[visit], cookie string) (user string, d visit) {
	t.Helper()
	res := call(m, cookie, func(_ http.ResponseWriter, r *http.Request) {
		s, err := m.Get(r.Context())
		if err != nil {
			t.Errorf("Get: %v", err)
		}
		user, d = s.User(), s.Data()
	})
	if res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
	return user, d
}

// spy counts what reaches a store, and can fail or meddle.
type spy struct {
	session.Store
	loads, writes atomic.Int64
	down          atomic.Bool
	hook          func(op string) // before the operation
}

var errDown = errors.New("connection refused by 10.9.8.7")

func newSpy(t testing.TB) *spy {
	t.Helper()
	m, err := session.NewMemoryStore(session.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return &spy{Store: m}
}

func (s *spy) before(ctx context.Context, op string, n *atomic.Int64) error {
	n.Add(1)
	if s.hook != nil {
		s.hook(op)
	}
	if s.down.Load() {
		return errDown
	}
	return ctx.Err() // as a store behind a network does
}

func (s *spy) Load(ctx context.Context, ref session.Ref) (session.Record, error) {
	if err := s.before(ctx, "load", &s.loads); err != nil {
		return session.Record{}, err
	}
	return s.Store.Load(ctx, ref)
}

func (s *spy) Create(ctx context.Context, ref session.Ref, rec session.Record, q session.Quota) ([]session.Ref, error) {
	if err := s.before(ctx, "create", &s.writes); err != nil {
		return nil, err
	}
	return s.Store.Create(ctx, ref, rec, q)
}

func (s *spy) Update(ctx context.Context, ref session.Ref, rec session.Record) error {
	if err := s.before(ctx, "update", &s.writes); err != nil {
		return err
	}
	return s.Store.Update(ctx, ref, rec)
}

func (s *spy) Touch(ctx context.Context, ref session.Ref, expires time.Time) error {
	if err := s.before(ctx, "touch", &s.writes); err != nil {
		return err
	}
	return s.Store.Touch(ctx, ref, expires)
}

func (s *spy) Delete(ctx context.Context, ref session.Ref) (session.Record, error) {
	if err := s.before(ctx, "delete", &s.writes); err != nil {
		return session.Record{}, err
	}
	return s.Store.Delete(ctx, ref)
}

func (s *spy) Revoke(ctx context.Context, r session.Revocation) (int, error) {
	if err := s.before(ctx, "revoke", &s.writes); err != nil {
		return 0, err
	}
	return s.Store.Revoke(ctx, r)
}

func (s *spy) RevokeAll(ctx context.Context, at, until time.Time) error {
	if err := s.before(ctx, "revoke", &s.writes); err != nil {
		return err
	}
	return s.Store.RevokeAll(ctx, at, until)
}

func (s *spy) List(ctx context.Context, tags []session.Tag) ([]session.Entry, error) {
	if err := s.before(ctx, "list", &s.loads); err != nil {
		return nil, err
	}
	return s.Store.List(ctx, tags)
}

// trail is an audit handler that keeps records and can refuse them.
type trail struct {
	mu      sync.Mutex
	records []map[string]any
	refuse  string // name of the record to refuse
}

var errAudit = errors.New("audit disk full")

func (*trail) Enabled(context.Context, slog.Level) bool { return true }
func (a *trail) WithAttrs([]slog.Attr) slog.Handler     { return a }
func (a *trail) WithGroup(string) slog.Handler          { return a }
func (a *trail) Handle(_ context.Context, r slog.Record) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Message == a.refuse {
		return errAudit
	}
	var b bytes.Buffer
	if err := slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}).Handle(context.Background(), r); err != nil {
		return err
	}
	m := map[string]any{}
	if err := json.Unmarshal(b.Bytes(), &m); err != nil {
		return err
	}
	a.records = append(a.records, m)
	return nil
}

func (a *trail) names() (names []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.records {
		names = append(names, r["msg"].(string))
	}
	return names
}
