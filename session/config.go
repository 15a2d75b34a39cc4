package session

import (
	"log/slog"
	"net/http"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

// Config configures a [Manager]. The zero value works: a cookie __Host-id,
// [Policy7Days], sessions in memory, and a random key for this process, which
// the room reports as a finding.
type Config struct {
	_ [0]func()

	// Name is the Component of findings and the instance of records.
	// Default: "session".
	Name string

	// Environment is where the service runs. Default: Production. Development
	// lets the cookie travel over plain HTTP to a loopback host.
	Environment hardening.Environment

	// Keys sign session ids, hide user ids from the store and seal data that
	// leaves the process. nil = a random key: sessions end with the process,
	// and no other process accepts them.
	Keys KeySource

	// Store keeps the sessions. nil = a [MemoryStore] of 100 000 sessions. A
	// store of another type gets sealed data only.
	Store Store

	// Cookie is how the cookie looks. Default: __Host-id, SameSite=Lax.
	Cookie Cookie

	// Policy is how long sessions live. Default: [Policy7Days].
	Policy Policy

	// MaxPerUser is how many sessions one user may have at once (ASVS
	// v5.0.0-7.1.2). Default: 32. At most 1000. While keys rotate it counts the
	// logins under each key. A [CookieStore] cannot count, so there it must be
	// zero.
	MaxPerUser int

	// OnLimit says what a login does that is one too many. Default:
	// [EvictOldest].
	OnLimit OnLimit

	// MaxDataBytes is how large the JSON of one session's data may be.
	// Default: 16384. At most 1 MiB.
	MaxDataBytes int

	// Audit gets the records of logins, renewals, logouts and revocations
	// before they take effect, and those of forged and dead ids. Its error
	// refuses a login or renewal with 503. It does not refuse a logout or a
	// revocation: these take effect all the same and the caller gets 503 and
	// [ErrUnrecorded], because a full disk must not keep a stolen session
	// alive. nil = they go to Logger, which refuses nothing. A handler may ask
	// the request's session who the user is; it must not change it: see
	// [ErrInUpdate].
	Audit slog.Handler

	// Logger gets the store's troubles, what Audit would not take, and why
	// Require and CSRF answer 500, once a minute. nil = slog.Default() at the
	// moment of the event.
	Logger *slog.Logger

	// OnDeny answers refused requests. Default: hardening.WriteProblem. The
	// cause is Problem.Err: compare it by errors.Is with [ErrAnonymous],
	// [ErrRevoked] (both 401) and [ErrStepUp] to send the user to a login
	// page, and with [ErrCSRF] and [ErrUnavailable].
	OnDeny func(http.ResponseWriter, *http.Request, *hardening.Problem)
}

// OnLimit is what a login does that would exceed [Config].MaxPerUser.
type OnLimit uint8

const (
	// EvictOldest ends the user's oldest session.
	EvictOldest OnLimit = iota
	// DenyNewest refuses the login with [ErrTooMany].
	DenyNewest
)

const (
	defaultMaxPerUser = 32
	maxMaxPerUser     = 1000
)

const (
	defaultMaxData = 16 << 10
	maxMaxData     = 1 << 20
)

// core is what a Manager is apart from the type of its data.
type core struct {
	cfg     Config
	names   cookieNames
	keys    keyring
	store   Store
	cookies *CookieStore // nil if sessions are kept by a store
	watcher Watcher      // nil if the store is none
	quota   Quota        // of logged-in users
	memory  bool
	audit   event.Sink // changes of who may do what
	log     event.Sink // abuse and trouble
	health  health
	misuse  event.Seldom // requests that the program serves wrongly
}

// checkMade refuses stores that nobody made: their zero value would panic in
// the middle of a request.
func checkMade(c *faults.Collector, s Store) {
	switch s := s.(type) {
	case *MemoryStore:
		if s.max == 0 {
			c.Missing("Store", "is a MemoryStore that NewMemoryStore did not make", "use session.NewMemoryStore, or leave it nil")
		}
	case *CookieStore:
		if s.ends == nil {
			c.Missing("Store", "is a CookieStore that NewCookieStore did not make", "use session.NewCookieStore")
		}
	}
}

func newCore(cfg Config, c *faults.Collector) *core {
	if !cfg.Environment.Valid() {
		c.Add("Environment", cfg.Environment, "is not an environment", "use hardening.Production, Staging or Development")
	}
	cfg.Cookie.validate(c)
	if cfg.Policy == (Policy{}) {
		cfg.Policy = Policy7Days()
	} else {
		cfg.Policy.validate(c)
	}
	switch {
	case cfg.MaxDataBytes == 0:
		cfg.MaxDataBytes = defaultMaxData
	case cfg.MaxDataBytes < 64 || cfg.MaxDataBytes > maxMaxData:
		c.Add("MaxDataBytes", cfg.MaxDataBytes, "is not between 64 and 1048576", "leave it zero for 16384 bytes; keep large things elsewhere, under the user's id")
	}
	if !c.NilInside("Store", cfg.Store, "leave it nil for a store in memory, or pass one that was made") {
		checkMade(c, cfg.Store)
	}
	_, stateless := cfg.Store.(*CookieStore)
	switch {
	case stateless && (cfg.MaxPerUser != 0 || cfg.OnLimit != EvictOldest):
		c.Add("MaxPerUser", cfg.MaxPerUser, "cannot be held by a CookieStore, which does not know how many there are", "leave MaxPerUser and OnLimit zero, or use a store that keeps sessions")
	case cfg.MaxPerUser < 0 || cfg.MaxPerUser > maxMaxPerUser:
		c.Add("MaxPerUser", cfg.MaxPerUser, "is not between 1 and 1000", "leave it zero for 32")
	case cfg.MaxPerUser == 0 && !stateless:
		cfg.MaxPerUser = defaultMaxPerUser
	}
	if cfg.OnLimit > DenyNewest {
		c.Add("OnLimit", cfg.OnLimit, "is not a way to hold the limit", "use session.EvictOldest or session.DenyNewest")
	}
	c.NilInside("Audit", cfg.Audit, "leave it nil to use Logger, or pass a handler that was made")
	c.Name("Name", cfg.Name)
	if cfg.Name == "" {
		cfg.Name = "session"
	}
	cfg.Cookie = cfg.Cookie.withDefaults()

	m := &core{cfg: cfg, names: cfg.Cookie.names(cfg.Environment), store: cfg.Store}
	if m.store == nil {
		m.store = newMemoryStore(defaultMaxSessions)
	}
	_, m.memory = m.store.(*MemoryStore)
	m.cookies, _ = m.store.(*CookieStore)
	m.quota = Quota{Max: cfg.MaxPerUser, Deny: cfg.OnLimit == DenyNewest}
	m.watcher, _ = m.store.(Watcher)
	m.keys.src = cfg.Keys
	if cfg.Keys == nil {
		m.keys.src = newProcessKeys()
	}
	if !c.NilInside("Keys", cfg.Keys, "leave it nil for a key of this process, or pass a ring that was loaded") {
		if _, err := m.keys.get(); err != nil {
			c.Secret("Keys", err.Error(), "use a key ring that derives independent 32-byte keys, such as *secrets.Ring")
		}
	}
	m.audit = event.Sink{Audit: cfg.Audit, Logger: cfg.Logger, Room: "session", Name: cfg.Name}
	m.log = event.Sink{Logger: cfg.Logger, Room: "session", Name: cfg.Name}
	return m
}
