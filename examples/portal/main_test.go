package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/auditlog"
	"github.com/inovy/hardening/tlsconfig"
)

func TestSmokePassesTwiceOnOneState(t *testing.T) {
	state := t.TempDir()
	for range 2 {
		var out bytes.Buffer
		if err := run(t.Context(), []string{"-smoke", "-state", state}, &out, t.Output()); err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		if n := strings.Count(out.String(), "\nok "); n != len(steps) {
			t.Errorf("%d steps are ok, want %d:\n%s", n, len(steps), &out)
		}
	}
}

func TestSmokeSaysWhatFailed(t *testing.T) {
	state := t.TempDir()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-smoke", "-state", state}, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	// Whoever takes the record away makes three steps fail.
	path := filepath.Join(state, "records.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(text, []byte("r1001"), []byte("r9999")), 0o600); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	err = run(t.Context(), []string{"-smoke", "-state", state}, &out, t.Output())
	if err == nil || !strings.Contains(err.Error(), "2 of ") || strings.Count(out.String(), "\nFAIL") != 2 {
		t.Errorf("%v\n%s", err, &out)
	}
}

// The command as a person uses it: start it, do what it prints, stop it.
func TestRunPrintsHowToGetInAndHowToVerify(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-addr", "127.0.0.1:0", "-state", state}, writer, t.Output())
		_ = writer.Close()
		done <- err
	}()
	var greeting strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(greeting.String(), "Stop with") {
		n, err := reader.Read(buf)
		greeting.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v after %q: %v", err, &greeting, <-done)
		}
	}
	text := greeting.String()
	find := func(pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("%s is not in\n%s", pattern, text)
		}
		return m[1]
	}
	origin, password := find(`(https://[^/]+)/`), find(`(?m)^ *vermeer +(\S+)`)
	ca, err := tlsconfig.NewDevCA(filepath.Join(state, "ca"), tlsconfig.DevCAConfig{Environment: hardening.Development})
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBrowser(origin, ca.Pool())
	if err != nil {
		t.Fatal(err)
	}
	a, err := b.login(ctx, "vermeer", password)
	want(t, a, err, http.StatusSeeOther, "/")
	b.close()
	stop()
	if err := <-done; err != nil {
		t.Errorf("stopping: %v", err)
	}

	command := find(`(?m)^ *(go run \./cmd/hardening .*)$`)
	args := strings.Fields(strings.ReplaceAll(command, "'", ""))
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...) // #nosec G204 -- the command that the portal prints
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", command, err, out)
	}
}

func TestProductionIsRefusedBecauseOfTheDevelopmentCA(t *testing.T) {
	for _, env := range []string{"production", "staging"} {
		state := filepath.Join(t.TempDir(), "state")
		err := run(t.Context(), []string{"-env", env, "-addr", "127.0.0.1:0", "-state", state}, io.Discard, t.Output())
		if err == nil || !strings.Contains(err.Error(), "-env development only") {
			t.Errorf("%s: %v", env, err)
		}
		if _, err := os.Stat(state); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s left a state directory: %v", env, err)
		}
	}
}

func TestFlagsThatMeanNothingAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-env", "prod"}, {"-port", "1"}, {"serve"}, {"-addr", "127.0.0.1"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

func TestStateIsPrivateAndSurvivesARestart(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.1")
	ctx, state := t.Context(), t.TempDir()
	opt := options{state: state, env: hardening.Development, log: t.Output()}
	first, err := open(ctx, opt)
	if err != nil {
		t.Fatal(err)
	}
	password, key := first.keys.passwordOf("jansen"), first.trail.VerifierKey()
	if _, err := first.records.change("jansen", "r1001", 1, "Changed", "and kept", "Dr. Noor Vermeer"); err != nil {
		t.Fatal(err)
	}
	if _, err := open(ctx, opt); err == nil {
		t.Error("two portals opened one audit log")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if public := strings.HasSuffix(path, ".crt"); !public && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	second, err := open(ctx, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	}()
	if second.keys.passwordOf("jansen") != password || second.trail.VerifierKey() != key {
		t.Error("a restart changed passwords or the verifier's key")
	}
	if rec, err := second.records.get("jansen", "r1001"); err != nil || rec.Title != "Changed" || rec.Version != 2 {
		t.Errorf("the record is %+v, %v", rec, err)
	}
	report, err := auditlog.Verify(ctx, second.auditDir(), key, auditlog.VerifyOptions{})
	if err != nil || report.Status != auditlog.StatusOK {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestEveryDamagedSecretIsNamedAtOnceWithoutItsValue(t *testing.T) {
	ctx, state := t.Context(), t.TempDir()
	opt := options{state: state, env: hardening.Development, log: t.Output()}
	p, err := open(ctx, opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"SESSION_KEY": "c2hvcnQ", "PASSWORD_JANSEN": "new\nline-canary-1234567890", "PASSWORD_VISSER": ""} {
		if err := os.WriteFile(filepath.Join(state, "secrets", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err = open(ctx, opt)
	if err == nil {
		t.Fatal("damaged secrets are accepted")
	}
	text := explain(err).Error()
	for _, name := range []string{"SESSION_KEY", "PASSWORD_JANSEN", "PASSWORD_VISSER"} {
		if !strings.Contains(text, name) {
			t.Errorf("%s is not named in\n%s", name, text)
		}
	}
	for _, value := range []string{"c2hvcnQ", "canary"} {
		if strings.Contains(text, value) {
			t.Errorf("a value is shown in\n%s", text)
		}
	}
}
