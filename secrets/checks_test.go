package secrets_test

import (
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/filepoll"
	"github.com/inovy/hardening/secrets"
)

var _ hardening.Checker = (*secrets.Loader)(nil)

// byID runs Check and fails on anything that is not complete.
func byID(t *testing.T, l *secrets.Loader) map[string]hardening.Finding {
	t.Helper()
	all := map[string]hardening.Finding{}
	for _, f := range l.Check() {
		if _, twice := all[f.ID]; twice || !strings.HasPrefix(f.ID, "HDN-SECRETS-") || f.Component == "" || f.Title == "" || f.Observed == "" || f.Expected == "" || f.Remedy == "" || len(f.Controls) == 0 {
			t.Errorf("an incomplete finding: %+v", f)
		}
		all[f.ID] = f
	}
	return all
}

// Each finding passes for one configuration, and fails for another that
// differs in what the finding is about.
func TestEveryFindingFlips(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("mode bits")
	}
	if filepoll.InMemory(t.TempDir()) {
		t.Skip("needs TMPDIR on a disk: what is in memory is not asked who may replace it")
	}
	type strict struct {
		R *secrets.Ring `secret:"R"`
	}
	type token struct {
		S secrets.Secret `secret:"S,kind=token"`
	}
	dated := func(age int) string {
		return "v1@" + time.Now().UTC().AddDate(0, 0, -age).Format(time.DateOnly) + ":" + generate(t)
	}
	load := func(dst any, opts secrets.Options, files map[string]string, mode os.FileMode) map[string]hardening.Finding {
		t.Helper()
		dir := t.TempDir()
		for name, text := range files {
			chmod(t, write(t, dir, name, text), mode)
		}
		opts.Sources, opts.Logger = append(opts.Sources, secrets.Dir(dir)), quiet
		l, err := secrets.Load(t.Context(), dst, opts)
		if err != nil {
			t.Fatal(err)
		}
		return byID(t, l)
	}
	good := load(&strict{}, secrets.Options{}, map[string]string{"R": dated(1)}, 0o400)
	for id, f := range good {
		if !f.Passed {
			t.Errorf("%s fails for the strictest configuration: %s", id, f)
		}
	}
	t.Setenv("S", goodToken)
	flipped := map[string]map[string]hardening.Finding{
		"HDN-SECRETS-001": load(&strict{}, secrets.Options{}, map[string]string{"R": dated(91)}, 0o400),
		"HDN-SECRETS-002": load(&strict{}, secrets.Options{}, map[string]string{"R": generate(t)}, 0o400),
		"HDN-SECRETS-003": load(&strict{}, secrets.Options{}, map[string]string{"R": dated(80)}, 0o400),
		"HDN-SECRETS-004": load(&struct {
			R *secrets.Ring `secret:"R,maxage=91d"`
		}{}, secrets.Options{}, map[string]string{"R": dated(1)}, 0o400),
		"HDN-SECRETS-005": load(&struct {
			R *secrets.Ring `secret:"R,grace=8d"`
		}{}, secrets.Options{}, map[string]string{"R": dated(1)}, 0o400),
		"HDN-SECRETS-006": load(&struct {
			P secrets.Secret `secret:"P,kind=password"`
		}{}, secrets.Options{Environment: hardening.Development}, map[string]string{"P": "changeme"}, 0o400),
		"HDN-SECRETS-007": load(&strict{}, secrets.Options{DangerouslyAllowReadableFiles: true}, map[string]string{"R": dated(1)}, 0o400),
		"HDN-SECRETS-008": load(&token{}, secrets.Options{Sources: []secrets.Source{secrets.Env()}}, nil, 0),
		"HDN-SECRETS-009": load(&struct {
			R *secrets.Ring `secret:"R,activate=59s"`
		}{}, secrets.Options{}, map[string]string{"R": dated(1)}, 0o400),
	}
	flipped["HDN-SECRETS-025"] = replaceable(t)
	maps.Copy(flipped, flipReloads(t))
	maps.Copy(flipped, flipRotation(t))
	for id, all := range flipped {
		if f := all[id]; f.Passed || f.ID == "" {
			t.Errorf("%s does not fail: %s", id, f)
		}
	}
	if got, want := slices.Sorted(maps.Keys(good)), slices.Sorted(maps.Keys(flipped)); !slices.Equal(got, want) || len(got) < 5 {
		t.Errorf("findings %v, flipped %v", got, want)
	}
}

// A file that everyone may read: refused on disk, let through with a finding
// where a memory file system, Development or the dangerous option excuse it.
func TestFilesThatEveryoneMayRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("mode bits")
	}
	type config struct {
		S secrets.Secret `secret:"S,kind=token"`
	}
	load := func(dir string, opts secrets.Options) (map[string]hardening.Finding, error) {
		opts.Sources, opts.Logger = []secrets.Source{secrets.Dir(dir)}, quiet
		l, err := secrets.Load(t.Context(), new(config), opts)
		if err != nil {
			return nil, err
		}
		return byID(t, l), nil
	}
	excused := func(dir string, opts secrets.Options) {
		t.Helper()
		f, err := load(dir, opts)
		if err != nil || f["HDN-SECRETS-007"].Passed {
			t.Errorf("%v %v", err, f["HDN-SECRETS-007"])
		}
	}
	memory, err := os.MkdirTemp("/dev/shm", "secrets")
	if err != nil {
		t.Logf("no memory file system: %v", err)
	} else {
		defer os.RemoveAll(memory)
		chmod(t, write(t, memory, "S", goodToken), 0o444)
		excused(memory, secrets.Options{})
	}
	disk, err := os.MkdirTemp(".", "testdir-") // /tmp may be in memory
	check(t, err)
	defer os.RemoveAll(disk)
	chmod(t, write(t, disk, "S", goodToken), 0o444)
	_, err = load(disk, secrets.Options{})
	if lines := faultsOf(t, err, goodToken); len(lines) != 1 || !strings.Contains(lines[0], "read by every user") {
		t.Errorf("got %q", lines)
	}
	excused(disk, secrets.Options{Environment: hardening.Development})
	excused(disk, secrets.Options{DangerouslyAllowReadableFiles: true})
	chmod(t, disk+"/S", 0o666)
	if _, err = load(disk, secrets.Options{Environment: hardening.Development, DangerouslyAllowReadableFiles: true}); err == nil {
		t.Error("a file that others may write must be refused always")
	}
}

func TestDevelopmentRelaxesPlaceholdersButNeverKeysAndMarkers(t *testing.T) {
	for _, tt := range []struct {
		dst   any
		value string
		ok    bool
	}{
		{&struct {
			S secrets.Secret `secret:"S,kind=password"`
		}{}, "postgres", true},
		{&struct {
			S secrets.Secret `secret:"S,kind=url"`
		}{}, "postgres://postgres:postgres@localhost/app", true},
		{&struct {
			S secrets.Secret `secret:"S,kind=token"`
		}{}, "[REDACTED]", false},
		{&struct {
			S secrets.Secret `secret:"S,kind=token"`
		}{}, "${TOKEN}", false},
		{&struct {
			S secrets.Secret `secret:"S,kind=key"`
		}{}, "dev-secret", false},
		{&struct {
			S *secrets.Ring `secret:"S"`
		}{}, "dev-secret", false},
	} {
		t.Setenv("S", tt.value)
		for env, ok := range map[hardening.Environment]bool{hardening.Development: tt.ok, hardening.Staging: false, hardening.Production: false} {
			opts := from(secrets.Env())
			opts.Environment = env
			if _, err := secrets.Load(t.Context(), tt.dst, opts); (err == nil) != ok {
				t.Errorf("%s in %s: %v", tt.value, env, err)
			}
		}
	}
}

func TestAgesBecomeDueAndOverdue(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.4")
	dir := t.TempDir()
	write(t, dir, "R", "v1@2000-01-01T00:00:00Z:"+generate(t))
	write(t, dir, "FILE", goodToken)
	t.Setenv("ENV", "tk-Zx8Cv5Bn2Mq9Wd4Eh7Jy")
	// A bubble's clock starts at midnight UTC 2000-01-01.
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	check(t, os.Chtimes(dir+"/FILE", start, start))
	synctest.Test(t, func(t *testing.T) {
		var cfg struct {
			R    *secrets.Ring  `secret:"R"`
			File secrets.Secret `secret:"FILE,kind=token"`
			Env  secrets.Secret `secret:"ENV,kind=token"`
		}
		opts := from(secrets.Dir(dir), secrets.Env())
		opts.PollInterval = 1000 * 24 * time.Hour // nothing changes here
		l, err := secrets.Load(t.Context(), &cfg, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for _, tt := range []struct {
			day             int
			ring, file, env secrets.State
		}{
			{0, secrets.OK, secrets.Unproven, secrets.Unproven},
			{74, secrets.OK, secrets.Unproven, secrets.Unproven},
			{75, secrets.Due, secrets.Unproven, secrets.Unproven},
			{89, secrets.Due, secrets.Unproven, secrets.Unproven},
			{90, secrets.Overdue, secrets.Overdue, secrets.Unproven},
			{400, secrets.Overdue, secrets.Overdue, secrets.Unproven},
		} {
			time.Sleep(time.Until(start.AddDate(0, 0, tt.day)))
			r := l.Report()
			if r[0].State != tt.ring || r[1].State != tt.file || r[2].State != tt.env {
				t.Errorf("day %d: %s %s %s, want %s %s %s", tt.day, r[0].State, r[1].State, r[2].State, tt.ring, tt.file, tt.env)
			}
			if r[0].Confidence != secrets.Exact || r[1].Confidence != secrets.AtLeast || r[2].Confidence != secrets.Unknown {
				t.Errorf("confidences: %+v", r)
			}
			if r[0].Version != 1 || r[0].Age != time.Duration(tt.day)*24*time.Hour || r[2].Age != 0 {
				t.Errorf("day %d: %+v", tt.day, r)
			}
		}
	})
}

func TestADueSecretIsAnnouncedWhenItIsLoaded(t *testing.T) {
	date := func(days int) string { return time.Now().UTC().AddDate(0, 0, -days).Format(time.DateOnly) }
	t.Setenv("DUE", "v1@"+date(80)+":"+generate(t))
	t.Setenv("OVERDUE", "v1@"+date(100)+":"+generate(t))
	var cfg struct {
		Due     *secrets.Ring `secret:"DUE"`
		Overdue *secrets.Ring `secret:"OVERDUE"`
	}
	a := &audit{}
	opts := from(secrets.Env())
	opts.Audit = a
	if _, err := secrets.Load(t.Context(), &cfg, opts); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range a.records {
		names = append(names, r.Message)
	}
	if !slices.Equal(names, []string{"secret_loaded", "secret_due", "secret_overdue"}) {
		t.Errorf("records: %v", names)
	}
}

func TestADatedSecretIsNotProvenBesideALedgerThatCanNotBeUsed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "T", goodToken)
	write(t, dir, "T.meta", `{"created":"`+time.Now().UTC().Add(-48*time.Hour).Format(time.DateOnly)+`"}`)
	opts := from(secrets.Dir(dir))
	for _, want := range []bool{true, false} {
		opts.Ledger = secrets.FileLedger(filepath.Join(dir, "ledger"))
		if !want {
			write(t, dir, "ledger", "garbage")
		}
		var cfg struct {
			T secrets.Secret `secret:"T,kind=token"`
		}
		l, err := secrets.Load(t.Context(), &cfg, opts)
		if err != nil {
			t.Fatal(err)
		}
		if f := byID(t, l)["HDN-SECRETS-002"]; f.Passed != want {
			t.Errorf("passed %v, want %v: %s", f.Passed, want, f)
		}
		_ = l.Close()
	}
}

// replaceable returns the findings of a Live that was taken over from a directory
// that all may write.
func replaceable(t *testing.T) map[string]hardening.Finding {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "L", rotation(0))
	var cfg struct {
		L *secrets.Live `secret:"L,kind=token"`
	}
	opts := from(secrets.Dir(dir))
	opts.Environment = hardening.Development
	l, err := secrets.Load(t.Context(), &cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if f := byID(t, l)["HDN-SECRETS-025"]; !f.Passed {
		t.Errorf("fails for a directory of our own: %s", f)
	}
	chmod(t, dir, 0o777)
	write(t, dir, "L", rotation(1))
	check(t, l.Reload(t.Context()))
	return byID(t, l)
}
