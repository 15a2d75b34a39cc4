package secrets_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/secrets"
)

const day = 24 * time.Hour

// bubbleStart is when the clock of a synctest bubble starts.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// untilDay sleeps in a bubble until a day, and until what that sets off is done.
func untilDay(days int, more time.Duration) {
	time.Sleep(time.Until(bubbleStart.AddDate(0, 0, days).Add(more)))
	synctest.Wait()
}

// trail is an audit handler that remembers names and objects, and may refuse.
type trail struct {
	slog.Handler
	mu      sync.Mutex
	refuse  error
	records []string
}

func (a *trail) Handle(_ context.Context, r slog.Record) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	line := r.Message
	r.Attrs(func(at slog.Attr) bool {
		if at.Key == "object" {
			line += " " + at.Value.String()
		}
		return true
	})
	a.records = append(a.records, line)
	return a.refuse
}

func (a *trail) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.records
	a.records = nil
	return out
}

// The life of a key: ok, due, overdue; rotated; and its predecessor gone.
func TestAKeyIsDueOnDay75OverdueOnDay90AndGoneAWeekAfterItsRotation(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.4")
	dir := t.TempDir()
	first, second := generate(t), generate(t)
	write(t, dir, "SESSION_KEY", "v1@2000-01-01T00:00:00Z:"+first)
	synctest.Test(t, func(t *testing.T) {
		var cfg struct {
			Session *secrets.Ring `secret:"SESSION_KEY,maxage=90d,grace=7d"`
		}
		log := &trail{}
		opts := from(secrets.Dir(dir))
		opts.Audit, opts.PollInterval = log, 30*day
		l, err := secrets.Load(t.Context(), &cfg, opts)
		check(t, err)
		defer l.Close()
		var heard []string
		l.Subscribe(func(c secrets.Change) {
			for _, s := range c.States {
				heard = append(heard, fmt.Sprintf("%d:%s", int(s.Age.Hours()/24), s.State))
			}
			for _, n := range c.Names {
				heard = append(heard, "new "+n)
			}
		})
		sealed, err := cfg.Session.Seal([]byte("x"), nil)
		check(t, err)
		state := func(days int, more time.Duration, want secrets.State, records ...string) {
			t.Helper()
			untilDay(days, more)
			if s := l.Report()[0]; s.State != want {
				t.Errorf("day %d: %s, want %s: %+v", days, s.State, want, s)
			}
			if got := log.take(); !slices.Equal(got, records) {
				t.Errorf("day %d: records %q, want %q", days, got, records)
			}
			if err := l.Health(); err != nil {
				t.Errorf("day %d: %v", days, err)
			}
		}
		opens := func(when string, wantStale, wantOK bool) {
			t.Helper()
			if _, stale, err := cfg.Session.Open(sealed, nil); (err == nil) != wantOK || stale != wantStale {
				t.Errorf("%s: stale %v, %v", when, stale, err)
			}
		}
		state(0, 0, secrets.OK, "secret_loaded")
		state(74, 0, secrets.OK)
		state(75, -time.Second, secrets.OK)
		state(75, 0, secrets.Due, "secret_due SESSION_KEY")
		state(76, 0, secrets.Due)
		state(90, -time.Second, secrets.Due)
		state(90, 0, secrets.Overdue, "secret_overdue SESSION_KEY")
		opens("an overdue key still works", false, true)
		write(t, dir, "SESSION_KEY", "v2@2000-03-31T00:00:00Z:"+second+",v1@2000-01-01T00:00:00Z:"+first)
		check(t, l.Reload(t.Context()))
		state(90, time.Minute, secrets.Overdue, "secret_rotated SESSION_KEY") // v2 only opens yet
		state(90, 11*time.Minute, secrets.OK)
		opens("the old key opens", true, true)
		state(97, 9*time.Minute, secrets.OK)
		opens("until the grace time is over", true, true)
		state(97, 10*time.Minute, secrets.OK)
		opens("then it is gone", false, false)
		state(165, 0, secrets.Due, "secret_due SESSION_KEY")
		want := []string{"75:due", "90:overdue", "new SESSION_KEY", "0:ok", "75:due"}
		if !slices.Equal(heard, want) {
			t.Errorf("subscribers heard %q, want %q", heard, want)
		}
	})
}

func TestAStateThatTheAuditTrailRefusesIsAnnouncedAgain(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "R", "v1@2000-01-01T00:00:00Z:"+generate(t))
	synctest.Test(t, func(t *testing.T) {
		log := &trail{}
		opts := from(secrets.Dir(dir))
		opts.Audit, opts.PollInterval = log, 30*day
		l, err := secrets.Load(t.Context(), &struct {
			R *secrets.Ring `secret:"R"`
		}{}, opts)
		check(t, err)
		heard := 0
		l.Subscribe(func(secrets.Change) { heard++ })
		untilDay(74, 0)
		log.take()
		log.mu.Lock()
		log.refuse = errors.New("disk full")
		log.mu.Unlock()
		untilDay(75, 2*time.Minute)
		if got := log.take(); len(got) != 3 || heard != 0 {
			t.Errorf("records %q, %d changes", got, heard)
		}
		log.mu.Lock()
		log.refuse = nil
		log.mu.Unlock()
		untilDay(76, 0)
		if got := log.take(); len(got) != 1 || got[0] != "secret_due R" || heard != 1 {
			t.Errorf("records %q, %d changes", got, heard)
		}
		check(t, l.Close())
		untilDay(91, 0)
		if got := log.take(); len(got) != 0 || heard != 1 {
			t.Errorf("a closed loader announces %q", got)
		}
		if err := l.Health(); !errors.Is(err, secrets.ErrClosed) {
			t.Errorf("a closed loader is healthy: %v", err)
		}
	})
}

func jwt(claims string) string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return part(`{"alg":"HS256","typ":"JWT"}`) + "." + part(claims) + ".q7Wz9fKx3Lm8Tn2Qw5Rz7Yb4Zx8Cv5Bn2Mq9Wd4Eh7Jy"
}

func certificate(t *testing.T, from, to time.Time) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	return certificateFor(t, key, from, to)
}

func certificateFor(t *testing.T, key ed25519.PrivateKey, from, to time.Time) string {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: from, NotAfter: to},
		&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}}, key.Public(), key)
	check(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// A certificate that is issued anew for the old private key renews nothing that
// whoever copied the key would lose.
func TestANewCertificateForTheOldKeyIsNoRotation(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	now := time.Now()
	old := certificateFor(t, key, now.Add(-200*day), now.Add(100*day))
	again := certificateFor(t, key, now.Add(-2*day), now.Add(365*day))
	other := certificate(t, now.Add(-2*day), now.Add(365*day))
	age := func(l *secrets.Loader) int { return int(l.Report()[0].Age / day) }

	t.Run("at a reload", func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, "TLS", old)
		l, err := secrets.Load(t.Context(), &struct {
			C *secrets.Live `secret:"TLS,kind=pem"`
		}{}, from(secrets.Dir(dir)))
		check(t, err)
		defer l.Close()
		for _, tc := range []struct {
			text string
			want int
		}{{old, 200}, {again, 200}, {other, 2}} {
			write(t, dir, "TLS", tc.text)
			check(t, l.Reload(t.Context()))
			if got := age(l); got != tc.want {
				t.Errorf("%d days old, want %d: %+v", got, tc.want, l.Report()[0])
			}
		}
	})
	t.Run("across restarts, by the ledger", func(t *testing.T) {
		dir := t.TempDir()
		opts := from(secrets.Dir(dir))
		opts.Ledger = secrets.FileLedger(filepath.Join(t.TempDir(), "ledger"))
		for _, tc := range []struct {
			text string
			want int
		}{{old, 200}, {again, 200}, {other, 2}} {
			write(t, dir, "TLS", tc.text)
			l, err := secrets.Load(t.Context(), &struct {
				C secrets.Secret `secret:"TLS,kind=pem"`
			}{}, opts)
			check(t, err)
			if got := age(l); got != tc.want {
				t.Errorf("%d days old, want %d: %+v", got, tc.want, l.Report()[0])
			}
			check(t, l.Close())
		}
	})
}

// vault is a Provider with a date for everything it has.
type datedVault map[string]secrets.Meta

func (v datedVault) Fetch(_ context.Context, name string) (secrets.Secret, secrets.Meta, error) {
	m, ok := v[name]
	if !ok {
		return secrets.Secret{}, secrets.Meta{}, secrets.ErrNotFound
	}
	return secrets.NewSecret(goodToken), m, nil
}

// Every proof of an age, and who is believed if there are several.
func TestTheAgeOfASecretAndItsProof(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.4")
	now := time.Now().UTC().Truncate(time.Second)
	ago := func(days int) time.Time { return now.AddDate(0, 0, -days) }
	stamp := func(days int) string { return ago(days).Format(time.RFC3339) }
	dayOf := func(days int) string { return ago(days).Format(time.DateOnly) }
	type (
		token struct {
			S secrets.Secret `secret:"S,kind=token"`
		}
		url struct {
			S secrets.Secret `secret:"S,kind=url"`
		}
		pemText struct {
			S secrets.Secret `secret:"S,kind=pem"`
		}
		ring struct {
			S *secrets.Ring `secret:"S"`
		}
		endless struct {
			S secrets.Secret `secret:"S,kind=token,maxage=0,reason=the vendor makes one for life"`
		}
	)
	cert := certificate(t, ago(100), ago(-265))
	ended := certificate(t, ago(100), ago(1))
	for _, tt := range []struct {
		name       string
		dst        any
		env, files map[string]string
		vault      datedVault
		state      secrets.State
		days       int // -1: unknown
		confidence secrets.Confidence
		proof      string
	}{
		{name: "a variable alone", dst: new(token), env: map[string]string{"S": goodToken}, state: secrets.Unproven, days: -1, confidence: secrets.Unknown},
		{name: "a variable and its date", dst: new(token), env: map[string]string{"S": goodToken, "S_CREATED_AT": stamp(80)}, state: secrets.Due, days: 80, confidence: secrets.Exact, proof: "S_CREATED_AT"},
		{name: "a date that is a day", dst: new(token), env: map[string]string{"S": goodToken, "S_CREATED_AT": dayOf(95)}, state: secrets.Overdue, days: 95, confidence: secrets.Exact, proof: "S_CREATED_AT"},
		{name: "an end alone proves nothing", dst: new(token), env: map[string]string{"S": goodToken, "S_EXPIRES_AT": stamp(-5)}, state: secrets.Unproven, days: -1, confidence: secrets.Unknown},
		{name: "an end that has passed", dst: new(token), env: map[string]string{"S": goodToken, "S_CREATED_AT": stamp(10), "S_EXPIRES_AT": stamp(1)}, state: secrets.Expired, days: 10, confidence: secrets.Exact, proof: "S_CREATED_AT"},
		{name: "a file alone", dst: new(token), files: map[string]string{"S": goodToken}, state: secrets.Unproven, days: 0, confidence: secrets.AtLeast, proof: "its file was written then"},
		{name: "a file and NAME.meta", dst: new(token), files: map[string]string{"S": goodToken, "S.meta": `{"created":"` + stamp(10) + `"}`}, state: secrets.OK, days: 10, confidence: secrets.Exact, proof: "S.meta"},
		{name: "a file and NAME_CREATED_AT with a line end", dst: new(token), files: map[string]string{"S": goodToken, "S_CREATED_AT": dayOf(10) + "\n"}, state: secrets.OK, days: 10, confidence: secrets.Exact, proof: "S_CREATED_AT"},
		{name: "both, and they agree", dst: new(token), files: map[string]string{"S": goodToken, "S_CREATED_AT": stamp(10), "S.meta": `{"created":"` + stamp(10) + `","expires":"` + stamp(-3) + `"}`}, state: secrets.OK, days: 10, confidence: secrets.Exact, proof: "S_CREATED_AT"},
		{name: "a file in lower case", dst: new(token), files: map[string]string{"s": goodToken, "s_created_at": stamp(10)}, state: secrets.OK, days: 10, confidence: secrets.Exact, proof: "S_CREATED_AT"},
		{name: "NAME_FILE and a date in the environment", dst: new(token), env: map[string]string{"S_FILE": "@elsewhere", "S_CREATED_AT": stamp(80)}, files: map[string]string{"elsewhere": goodToken}, state: secrets.Due, days: 80, confidence: secrets.Exact, proof: "S_CREATED_AT"},
		{name: "a date in the environment is not that of a file elsewhere", dst: new(token), env: map[string]string{"S_CREATED_AT": stamp(1)}, files: map[string]string{"S": goodToken}, state: secrets.Unproven, days: 0, confidence: secrets.AtLeast, proof: "its file was written then"},
		{name: "a JSON Web Token", dst: new(token), env: map[string]string{"S": jwt(fmt.Sprintf(`{"iat":%d,"exp":%d}`, ago(80).Unix(), ago(-10).Unix()))}, state: secrets.Due, days: 80, confidence: secrets.Exact, proof: "iat and exp of the JSON Web Token"},
		{name: "one that ended", dst: new(token), env: map[string]string{"S": jwt(fmt.Sprintf(`{"iat":%d.5,"exp":%d}`, ago(80).Unix(), ago(1).Unix()))}, state: secrets.Expired, days: 80, confidence: secrets.Exact, proof: "iat and exp of the JSON Web Token"},
		{name: "one without dates", dst: new(token), env: map[string]string{"S": jwt(`{"sub":"x","iat":"soon"}`)}, state: secrets.Unproven, days: -1, confidence: secrets.Unknown},
		{name: "a value is believed before what stands beside it", dst: new(token), env: map[string]string{"S": jwt(fmt.Sprintf(`{"iat":%d}`, ago(80).Unix())), "S_CREATED_AT": stamp(1)}, state: secrets.Due, days: 80, confidence: secrets.Exact, proof: "iat and exp of the JSON Web Token"},
		{name: "a certificate", dst: new(pemText), files: map[string]string{"S": cert}, state: secrets.Overdue, days: 100, confidence: secrets.Exact, proof: "the validity of the certificate"},
		{name: "one that ended", dst: new(pemText), files: map[string]string{"S": ended}, state: secrets.Expired, days: 100, confidence: secrets.Exact, proof: "the validity of the certificate"},
		{name: "a private key alone", dst: new(pemText), files: map[string]string{"S": cert[:strings.Index(cert, "-----BEGIN CERT")]}, state: secrets.Unproven, days: 0, confidence: secrets.AtLeast, proof: "its file was written then"},
		{name: "a shared access signature", dst: new(url), env: map[string]string{"S": "https://care.blob.core.windows.net/x?sv=2024-11-04&st=" + stamp(80) + "&se=" + stamp(-10) + "&sr=c&sp=r&sig=q7Wz9fKx3Lm8Tn2Qw5Rz7Yb4%3D"}, state: secrets.Due, days: 80, confidence: secrets.Exact, proof: "st and se of the shared access signature"},
		{name: "one that ended", dst: new(token), env: map[string]string{"S": fmt.Sprintf("SharedAccessSignature sr=care&sig=q7Wz9fKx3Lm8Tn2Qw5Rz7Yb4%%3D&se=%d&skn=send", ago(1).Unix())}, state: secrets.Expired, days: -1, confidence: secrets.Unknown},
		{name: "a provider", dst: new(token), vault: datedVault{"S": {Created: ago(95)}}, state: secrets.Overdue, days: 95, confidence: secrets.Exact, proof: "what its provider says"},
		{name: "a provider's end", dst: new(token), vault: datedVault{"S": {Created: ago(5), Expires: ago(1)}}, state: secrets.Expired, days: 5, confidence: secrets.Exact, proof: "what its provider says"},
		{name: "a ring with a date", dst: new(ring), env: map[string]string{"S": "v1@" + stamp(80) + ":" + generate(t)}, state: secrets.Due, days: 80, confidence: secrets.Exact, proof: "the date in the ring"},
		{name: "a ring's date is believed before what stands beside it", dst: new(ring), env: map[string]string{"S": "v1@" + stamp(80) + ":" + generate(t), "S_CREATED_AT": stamp(1)}, state: secrets.Due, days: 80, confidence: secrets.Exact, proof: "the date in the ring"},
		{name: "a bare ring and a date beside it", dst: new(ring), env: map[string]string{"S": generate(t), "S_CREATED_AT": stamp(95)}, state: secrets.Overdue, days: 95, confidence: secrets.Exact, proof: "S_CREATED_AT"},
		{name: "no maximum age", dst: new(endless), env: map[string]string{"S": goodToken, "S_CREATED_AT": stamp(4000)}, state: secrets.OK, days: 4000, confidence: secrets.Exact, proof: "S_CREATED_AT"},
		{name: "no maximum age and no date", dst: new(endless), env: map[string]string{"S": goodToken}, state: secrets.OK, days: -1, confidence: secrets.Unknown},
		{name: "no maximum age has an end", dst: new(endless), env: map[string]string{"S": goodToken, "S_EXPIRES_AT": stamp(1)}, state: secrets.Expired, days: -1, confidence: secrets.Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tt.files {
				write(t, dir, name, text)
			}
			for name, text := range tt.env {
				t.Setenv(name, strings.Replace(text, "@elsewhere", dir+"/elsewhere", 1))
			}
			l, err := secrets.Load(t.Context(), tt.dst, from(secrets.Env(), secrets.Dir(dir), secrets.From("the vault", tt.vault)))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			s := l.Report()[0]
			if s.State != tt.state || s.Confidence != tt.confidence || s.Proof != tt.proof || s.Note != "" {
				t.Errorf("%+v", s)
			}
			if got := int(s.Age.Hours() / 24); got != max(0, tt.days) || s.Created.IsZero() != (tt.days < 0) {
				t.Errorf("%d days old, want %d", got, tt.days)
			}
			if err := l.Health(); errors.Is(err, secrets.ErrExpired) != (tt.state == secrets.Expired) {
				t.Errorf("health: %v", err)
			}
		})
	}
}

func TestDatesThatCanNotBeTrueAreFaults(t *testing.T) {
	later := time.Now().UTC().Add(48 * time.Hour)
	type config struct {
		S secrets.Secret `secret:"S,kind=token"`
	}
	for name, tt := range map[string]struct {
		env, files map[string]string
		vault      datedVault
		reason     string
	}{
		"a future date":                 {env: map[string]string{"S_CREATED_AT": later.Format(time.RFC3339)}, reason: "S_CREATED_AT lies in the future"},
		"a future day":                  {env: map[string]string{"S_CREATED_AT": later.Format(time.DateOnly)}, reason: "S_CREATED_AT lies in the future"},
		"not a date":                    {env: map[string]string{"S_CREATED_AT": "hunter2-yesterday"}, reason: "S_CREATED_AT holds something else"},
		"a day that does not exist":     {env: map[string]string{"S_CREATED_AT": "2026-02-30"}, reason: "S_CREATED_AT holds something else"},
		"before computers":              {env: map[string]string{"S_CREATED_AT": "1066-10-14"}, reason: "S_CREATED_AT holds something else"},
		"not an end":                    {env: map[string]string{"S_EXPIRES_AT": "never"}, reason: "S_EXPIRES_AT holds something else"},
		"an end before the beginning":   {env: map[string]string{"S_CREATED_AT": "2026-02-02", "S_EXPIRES_AT": "2026-02-01"}, reason: "expires before it was made"},
		"a file with a future date":     {files: map[string]string{"S_CREATED_AT": later.Format(time.RFC3339)}, reason: "S_CREATED_AT lies in the future"},
		"meta that is not JSON":         {files: map[string]string{"S.meta": "created: 2026-01-01"}, reason: "S.meta is not a JSON object"},
		"meta with another key":         {files: map[string]string{"S.meta": `{"creatd":"2026-01-01"}`}, reason: "S.meta is not a JSON object"},
		"meta with more behind it":      {files: map[string]string{"S.meta": `{"created":"2026-01-01"}{}`}, reason: "S.meta is not a JSON object"},
		"meta with a number":            {files: map[string]string{"S.meta": `{"created":1767225600}`}, reason: "S.meta is not a JSON object"},
		"two dates that differ":         {files: map[string]string{"S.meta": `{"created":"2026-01-01"}`, "S_CREATED_AT": "2026-01-02"}, reason: "something else than what stands beside it"},
		"an empty date file":            {files: map[string]string{"S_CREATED_AT": ""}, reason: "S_CREATED_AT holds something else"},
		"a provider ahead of its time":  {vault: datedVault{"S": {Created: later}}, reason: "made in the future"},
		"a provider's end before":       {vault: datedVault{"S": {Created: later.AddDate(-1, 0, 0), Expires: later.AddDate(-2, 0, 0)}}, reason: "expires before it was made"},
		"a token that is not valid yet": {env: map[string]string{"S": jwt(fmt.Sprintf(`{"iat":%d}`, later.Unix()))}, reason: "is not valid yet"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sources := []secrets.Source{secrets.Env()}
			switch {
			case tt.vault != nil:
				sources = []secrets.Source{secrets.From("the vault", tt.vault)}
			case tt.files != nil:
				write(t, dir, "S", goodToken)
				sources = []secrets.Source{secrets.Dir(dir)}
			case tt.env["S"] == "":
				t.Setenv("S", goodToken)
			}
			for name, text := range tt.files {
				write(t, dir, name, text)
			}
			for name, text := range tt.env {
				t.Setenv(name, text)
			}
			_, err := secrets.Load(t.Context(), new(config), from(sources...))
			lines := faultsOf(t, err, goodToken, "hunter2-yesterday")
			if len(lines) != 1 || !strings.Contains(lines[0], tt.reason) {
				t.Errorf("got %q", lines)
			}
		})
	}
	if runtime.GOOS == "windows" {
		return
	}
	dir := t.TempDir()
	write(t, dir, "S", goodToken)
	chmod(t, write(t, dir, "S_CREATED_AT", "2026-01-01"), 0o666)
	_, err := secrets.Load(t.Context(), new(config), from(secrets.Dir(dir)))
	if lines := faultsOf(t, err, goodToken); len(lines) != 1 || !strings.Contains(lines[0], "may be written by group or others") {
		t.Errorf("a date that everyone may write: %q", lines)
	}
}

func TestDatesInAFileOfSeveralValues(t *testing.T) {
	env := write(t, t.TempDir(), ".env", "S="+goodToken+"\nS_CREATED_AT="+time.Now().UTC().AddDate(0, 0, -80).Format(time.DateOnly)+"\n")
	opts := from(secrets.DotEnv(env))
	opts.Environment = hardening.Development
	l, err := secrets.Load(t.Context(), &struct {
		S *secrets.Live `secret:"S,kind=token"`
	}{}, opts)
	check(t, err)
	defer l.Close()
	if s := l.Report()[0]; s.State != secrets.Due || s.Confidence != secrets.Exact {
		t.Errorf("%+v", s)
	}
	write(t, filepath.Dir(env), ".env", "S_CREATED_AT="+time.Now().UTC().Format(time.DateOnly)+"\nS=tk-Zx8Cv5Bn2Mq9Wd4Eh7Jy\n")
	check(t, l.Reload(t.Context()))
	if s := l.Report()[0]; s.State != secrets.OK || s.Note != "" {
		t.Errorf("%+v", s)
	}
}

// maxage=0 is a decision that somebody must have reasons for.
func TestNoMaximumAgeNeedsAReason(t *testing.T) {
	t.Setenv("S", goodToken)
	for name, dst := range map[string]any{
		"no reason": &struct {
			S secrets.Secret `secret:"S,kind=token,maxage=0"`
		}{},
		"a short one": &struct {
			S secrets.Secret `secret:"S,kind=token,maxage=0,reason=because"`
		}{},
		"a reason for nothing": &struct {
			S secrets.Secret `secret:"S,kind=token,reason=the vendor makes one for life"`
		}{},
	} {
		_, err := secrets.Load(t.Context(), dst, from(secrets.Env()))
		if lines := faultsOf(t, err, goodToken); len(lines) != 1 || !strings.Contains(lines[0], "reason") {
			t.Errorf("%s: %q", name, lines)
		}
	}
}

// What a reload notices without a ledger: a new date for the old value, and the
// old date for a new value.
func TestAReloadNoticesDatesThatDoNotFit(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "S", goodToken)
	write(t, dir, "S_CREATED_AT", "2000-01-01")
	synctest.Test(t, func(t *testing.T) {
		var cfg struct {
			S *secrets.Live `secret:"S,kind=token"`
		}
		opts := from(secrets.Dir(dir))
		opts.PollInterval = 30 * day
		l, err := secrets.Load(t.Context(), &cfg, opts)
		check(t, err)
		defer l.Close()
		finding := func(id string) bool { return byID(t, l)[id].Passed }
		untilDay(85, 0)
		if s := l.Report()[0]; s.State != secrets.Due || !finding("HDN-SECRETS-041") || !finding("HDN-SECRETS-042") {
			t.Errorf("%+v", s)
		}
		write(t, dir, "S_CREATED_AT", "2000-03-26")
		check(t, l.Reload(t.Context()))
		if s := l.Report()[0]; s.State != secrets.Due || !strings.Contains(s.Note, "not rotated") || finding("HDN-SECRETS-041") {
			t.Errorf("re-stamped: %+v", s)
		}
		write(t, dir, "S_CREATED_AT", "2000-01-01")
		write(t, dir, "S", "tk-Zx8Cv5Bn2Mq9Wd4Eh7Jy")
		check(t, l.Reload(t.Context()))
		if s := l.Report()[0]; s.State == secrets.OK || s.Confidence == secrets.Exact || !strings.Contains(s.Note, "without a new date") || finding("HDN-SECRETS-042") || !finding("HDN-SECRETS-041") {
			t.Errorf("changed without a new date: %+v", s)
		}
		write(t, dir, "S_CREATED_AT", "2000-03-26")
		check(t, l.Reload(t.Context()))
		if s := l.Report()[0]; s.State != secrets.OK || s.Note != "" || !finding("HDN-SECRETS-042") {
			t.Errorf("dated: %+v", s)
		}
		write(t, dir, "S_CREATED_AT", "not a date")
		if err := l.Reload(t.Context()); err == nil || secrets.Expose(cfg.S.Get()) == "" {
			t.Errorf("a date that is none was taken: %v", err)
		}
		if s := l.Report()[0]; s.State != secrets.Invalid || !strings.Contains(s.Note, "S_CREATED_AT") {
			t.Errorf("invalid: %+v", s)
		}
		if err := l.Health(); err != nil {
			t.Errorf("the last good value works: %v", err)
		}
	})
}

// Across restarts, which is what the ledger is for.
func TestALedgerOutlivesTheProcess(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.4")
	ledger := filepath.Join(t.TempDir(), "ledger")
	first, second := generate(t), generate(t)
	synctest.Test(t, func(t *testing.T) {
		start := func(token, ring, date string) map[string]secrets.Status {
			t.Helper()
			t.Setenv("TOKEN", token)
			t.Setenv("RING", ring)
			t.Setenv("TOKEN_CREATED_AT", date)
			opts := from(secrets.Env())
			opts.Ledger = secrets.FileLedger(ledger)
			l, err := secrets.Load(t.Context(), &struct {
				Token secrets.Secret `secret:"TOKEN,kind=token"`
				Ring  *secrets.Ring  `secret:"RING"`
			}{}, opts)
			check(t, err)
			defer l.Close()
			out := map[string]secrets.Status{}
			for _, s := range l.Report() {
				out[s.Name] = s
			}
			for _, f := range l.Check() {
				if f.ID == "HDN-SECRETS-044" && !f.Passed || f.ID == "HDN-SECRETS-045" && !f.Passed {
					t.Errorf("%s", f)
				}
			}
			return out
		}
		is := func(when string, s secrets.Status, state secrets.State, confidence secrets.Confidence, days int, note string) {
			t.Helper()
			if s.State != state || s.Confidence != confidence || int(s.Age.Hours()/24) != days || (note == "") != (s.Note == "") || !strings.Contains(s.Note, note) {
				t.Errorf("%s: %+v", when, s)
			}
		}
		got := start(goodToken, first, "")
		is("a new token", got["TOKEN"], secrets.Unproven, secrets.AtLeast, 0, "")
		is("a new ring", got["RING"], secrets.Unproven, secrets.AtLeast, 0, "")
		untilDay(60, 0)
		got = start(goodToken, "base64:"+first, "")
		is("60 days later", got["TOKEN"], secrets.Unproven, secrets.AtLeast, 60, "")
		is("in another spelling", got["RING"], secrets.Unproven, secrets.AtLeast, 60, "")
		untilDay(91, 0)
		got = start(goodToken, "v2@2000-03-01:"+first, "2000-03-20")
		is("91 days later, with a date of yesterday", got["TOKEN"], secrets.Overdue, secrets.AtLeast, 91, "re-stamped, not rotated")
		is("an old key as a new version", got["RING"], secrets.Overdue, secrets.AtLeast, 91, "re-stamped, not rotated")
		untilDay(91, time.Hour)
		got = start("tk-Zx8Cv5Bn2Mq9Wd4Eh7Jy", "v2@2000-04-01:"+second+",v1:"+first, "2000-04-01")
		is("rotated", got["TOKEN"], secrets.OK, secrets.Exact, 0, "")
		is("rotated, and not active yet", got["RING"], secrets.Overdue, secrets.AtLeast, 91, "")
		untilDay(100, 0)
		got = start("tk-9fKx3Lm8Tn2Qw5Rz7YbA4", "v2@2000-04-01:"+second+",v1:"+first, "2000-04-01")
		is("another value with that date", got["TOKEN"], secrets.Unproven, secrets.AtLeast, 0, "without a new date")
		is("unchanged", got["RING"], secrets.OK, secrets.Exact, 9, "")
		untilDay(101, 0)
		got = start("tk-9fKx3Lm8Tn2Qw5Rz7YbA4", "v2@2000-04-01:"+second, "2000-04-01")
		is("still", got["TOKEN"], secrets.Unproven, secrets.AtLeast, 1, "without a new date")
		got = start("tk-Zx8Cv5Bn2Mq9Wd4Eh7Jy", "v2@2000-04-01:"+second, "")
		is("the value before, without its date", got["TOKEN"], secrets.OK, secrets.Exact, 10, "")
	})
}

func TestWithADamagedLedgerNothingIsProven(t *testing.T) {
	ledger := filepath.Join(t.TempDir(), "ledger")
	t.Setenv("RING", "v1@"+time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)+":"+generate(t))
	load := func() (*secrets.Loader, secrets.Status) {
		t.Helper()
		opts := from(secrets.Env())
		opts.DangerouslyKeepEnvironment = true
		opts.Ledger = secrets.FileLedger(ledger)
		l, err := secrets.Load(t.Context(), &struct {
			Ring *secrets.Ring `secret:"RING"`
		}{}, opts)
		check(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l, l.Report()[0]
	}
	if l, s := load(); s.State != secrets.OK || s.Note != "" || !byID(t, l)["HDN-SECRETS-045"].Passed {
		t.Errorf("%+v", s)
	}
	text, err := os.ReadFile(ledger)
	check(t, err)
	text[len(text)/2] ^= 1
	check(t, os.WriteFile(ledger, text, 0o600))
	if l, s := load(); s.State != secrets.Unproven || !strings.Contains(s.Note, "ledger") || byID(t, l)["HDN-SECRETS-045"].Passed || l.Health() != nil {
		t.Errorf("%+v", s)
	}
	check(t, os.Remove(ledger))
	if _, s := load(); s.State != secrets.OK {
		t.Errorf("begun anew: %+v", s)
	}
}

// flipRotation returns, by id, the findings of loaders that fail it.
func flipRotation(t *testing.T) map[string]map[string]hardening.Finding {
	t.Helper()
	out := map[string]map[string]hardening.Finding{}
	load := func(id string, dst any, dir string, ledger secrets.Ledger) *secrets.Loader {
		t.Helper()
		opts := from(secrets.Dir(dir))
		opts.Ledger = ledger
		l, err := secrets.Load(t.Context(), dst, opts)
		check(t, err)
		t.Cleanup(func() { _ = l.Close() })
		out[id] = byID(t, l)
		return l
	}
	type live struct {
		S *secrets.Live `secret:"S,kind=token"`
	}
	date := func(ago int) string { return time.Now().UTC().AddDate(0, 0, -ago).Format(time.DateOnly) }
	dated := func(ago int) string {
		dir := t.TempDir()
		write(t, dir, "S", goodToken)
		write(t, dir, "S_CREATED_AT", date(ago))
		return dir
	}
	dir := dated(5)
	write(t, dir, "S_EXPIRES_AT", date(1))
	load("HDN-SECRETS-040", new(live), dir, secrets.Ledger{})
	dir = dated(20)
	l := load("HDN-SECRETS-041", new(live), dir, secrets.Ledger{})
	write(t, dir, "S_CREATED_AT", date(1))
	check(t, l.Reload(t.Context()))
	out["HDN-SECRETS-041"] = byID(t, l)
	dir = dated(20)
	l = load("HDN-SECRETS-042", new(live), dir, secrets.Ledger{})
	write(t, dir, "S", "tk-Zx8Cv5Bn2Mq9Wd4Eh7Jy")
	check(t, l.Reload(t.Context()))
	out["HDN-SECRETS-042"] = byID(t, l)
	load("HDN-SECRETS-043", &struct {
		S secrets.Secret `secret:"S,kind=token,maxage=0,reason=the vendor makes one for life"`
	}{}, dated(5), secrets.Ledger{})
	dir = t.TempDir()
	write(t, dir, "S", goodToken)
	load("HDN-SECRETS-044", new(live), dir, secrets.Ledger{})
	load("HDN-SECRETS-045", new(live), dir, secrets.FileLedger(filepath.Join(dir, "no", "ledger")))
	return out
}

// A volume that is mounted late, or a disk that was full, is no reason to know
// nothing until the next restart.
func TestALedgerThatCouldNotBeUsedIsTriedAgain(t *testing.T) {
	for name, again := range map[string]func(*secrets.Loader){
		"in time": func(*secrets.Loader) { time.Sleep(time.Hour + time.Second); synctest.Wait() }, // virtual time
		"at once": func(l *secrets.Loader) { _ = l.Reload(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, volume := t.TempDir(), filepath.Join(t.TempDir(), "volume")
			write(t, dir, "L", rotation(0))
			write(t, dir, "L_CREATED_AT", "2000-01-01")
			synctest.Test(t, func(t *testing.T) {
				var cfg struct {
					L secrets.Secret `secret:"L,kind=token"`
				}
				opts := from(secrets.Dir(dir))
				opts.Ledger = secrets.FileLedger(filepath.Join(volume, "ledger"))
				l, err := secrets.Load(t.Context(), &cfg, opts)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				heard := make(chan secrets.Change, 1)
				l.Subscribe(func(c secrets.Change) { heard <- c })
				if s := l.Report()[0]; s.State != secrets.Unproven || byID(t, l)["HDN-SECRETS-045"].Passed {
					t.Errorf("without a ledger: %+v", s)
				}
				check(t, os.Mkdir(volume, 0o700))
				again(l)
				if s := l.Report()[0]; s.State != secrets.OK || !byID(t, l)["HDN-SECRETS-045"].Passed {
					t.Errorf("with one: %+v", s)
				}
				if c := <-heard; len(c.Names) != 0 || len(c.States) != 1 || c.States[0].State != secrets.OK {
					t.Errorf("subscribers heard %+v", c)
				}
			})
		})
	}
}
