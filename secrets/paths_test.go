package secrets_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/inovy/hardening/secrets"
)

// The directory of a Dir and that of a NAME_FILE are one, however they are spelt.
func TestAPairIsOnePairHoweverItsDirectoryIsSpelt(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(filepath.Dir(dir))
	write(t, dir, "USER", "user-"+rotation(0))
	t.Setenv("PASSWORD_FILE", write(t, dir, "pw", rotation(0)))
	for _, spelling := range []string{dir, dir + "/", dir + "/../" + filepath.Base(dir), filepath.Base(dir)} {
		write(t, dir, "USER", "user-"+rotation(0))
		write(t, dir, "pw", rotation(0))
		var cfg struct {
			User     *secrets.Live `secret:"USER,kind=token"`
			Password *secrets.Live `secret:"PASSWORD,kind=token"`
		}
		opts := from(secrets.Dir(spelling), secrets.Env())
		opts.PollInterval = time.Hour
		l, err := secrets.Load(t.Context(), &cfg, opts)
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, "USER", "user-"+rotation(1))
		write(t, dir, "pw", "changeme")
		if err := l.Reload(t.Context()); err == nil || secrets.Expose(cfg.User.Get()) != "user-"+rotation(0) {
			t.Errorf("%s: half of a pair was taken over: %v", spelling, err)
		}
		check(t, l.Close())
	}
}

// A relative path means the file that it named when it was loaded.
func TestAProgramMayChangeItsWorkingDirectory(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	t.Chdir(dir)
	t.Setenv("BY_NAME_FILE", "by-name")
	rewrite := func(i int) {
		for name, text := range map[string]string{"IN_DIR": rotation(i), "by-name": rotation(100 + i), "values": "IN_VALUES=" + rotation(200+i)} {
			write(t, dir, name, text)
		}
	}
	rewrite(0)
	var cfg struct {
		Dir    *secrets.Live `secret:"IN_DIR,kind=token"`
		Name   *secrets.Live `secret:"BY_NAME,kind=token"`
		Values *secrets.Live `secret:"IN_VALUES,kind=token"`
	}
	opts := from(secrets.Dir("."), secrets.Env(), secrets.Encrypted("values", func(_ context.Context, text []byte) ([]byte, error) { return slices.Clone(text), nil }))
	opts.Ledger = secrets.FileLedger("ledger")
	opts.PollInterval = time.Hour
	l, err := secrets.Load(t.Context(), &cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Chdir(elsewhere)
	rewrite(1)
	check(t, l.Reload(t.Context()))
	if secrets.Expose(cfg.Dir.Get()) != rotation(1) || secrets.Expose(cfg.Name.Get()) != rotation(101) || secrets.Expose(cfg.Values.Get()) != rotation(201) {
		t.Error("a file was looked for elsewhere")
	}
	if left, err := os.ReadDir(elsewhere); err != nil || len(left) != 0 || !byID(t, l)["HDN-SECRETS-045"].Passed {
		t.Errorf("the ledger went along: %v %v", left, err)
	}
}
