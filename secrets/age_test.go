package secrets_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/secrets"
)

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
