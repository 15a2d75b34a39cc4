package secrets

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/inovy/hardening"
)

const childVariable = "SECRETS_TEST_CHILD"

// inChild runs this test binary again, with one test and more environment.
func inChild(t *testing.T, env ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), append(env, childVariable+"=1")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the child failed: %v\n%s", err, out)
	}
	return string(out)
}

// Half of the value, so that the program itself holds no whole one.
const half, otherHalf = "tk-Zx8Cv5Bn2", "Mq9Wd4Eh7Jy"

func TestAfterALoadTheEnvironmentHoldsNoSecret(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.1")
	if os.Getenv(childVariable) == "" {
		inChild(t, "TOKEN="+half+otherHalf, "TOKEN_SPARE=kept", "REGION=eu", "EMPTY=", "TOKENS=plural")
		return
	}
	environ := func() string {
		b, err := os.ReadFile("/proc/self/environ")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if !strings.Contains(environ(), half+otherHalf) {
		t.Fatal("the token is not in the initial environment, so this test shows nothing")
	}
	var cfg struct {
		Token  Secret `secret:"TOKEN,kind=token"`
		Region string `secret:"REGION,public"`
	}
	l, err := Load(t.Context(), &cfg, Options{Sources: []Source{Env()}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if Expose(cfg.Token) != half+otherHalf || cfg.Region != "eu" {
		t.Error("not loaded")
	}
	if strings.Contains(environ(), otherHalf) || strings.Contains(environ(), "TOKEN=") {
		t.Error("/proc/self/environ still shows it")
	}
	for _, kept := range []string{"TOKEN_SPARE=kept", "REGION=eu", "TOKENS=plural"} {
		if !strings.Contains(environ(), kept) {
			t.Errorf("%s is gone too", kept)
		}
	}
	if _, set := os.LookupEnv("TOKEN"); set {
		t.Error("os.Getenv still finds it")
	}
	out, err := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestPrintEnvironment$", "-test.v").CombinedOutput()
	if err != nil || strings.Contains(string(out), otherHalf) || !strings.Contains(string(out), "REGION=eu") {
		t.Errorf("a child inherits it: %v\n%s", err, out)
	}
	i := slices.IndexFunc(l.Check(), func(f hardening.Finding) bool { return f.ID == "HDN-SECRETS-022" })
	if f := l.Check()[i]; !f.Passed {
		t.Error(f)
	}
	// A second load finds nothing, and says why.
	_, err = Load(t.Context(), &cfg, Options{Sources: []Source{Env()}})
	if err == nil || !strings.Contains(err.Error(), "a Load takes what it found out of the environment") {
		t.Errorf("a second load: %v", err)
	}
}

func TestPrintEnvironment(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		fmt.Println(strings.Join(os.Environ(), "\n"))
	}
}

func TestTheEnvironmentStaysWhereItMust(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	type config struct {
		S Secret `secret:"SCRUB_TOKEN,kind=token"`
	}
	load := func(opts Options) error {
		opts.Sources, opts.Logger = []Source{Env()}, quiet
		l, err := Load(context.Background(), new(config), opts)
		if err == nil {
			_ = l.Close()
		}
		return err
	}
	t.Setenv("SCRUB_TOKEN", "short")
	if load(Options{}) == nil || os.Getenv("SCRUB_TOKEN") == "" {
		t.Error("a load that failed must leave the environment as it was")
	}
	t.Setenv("SCRUB_TOKEN", half+otherHalf)
	if err := load(Options{DangerouslyKeepEnvironment: true}); err != nil || os.Getenv("SCRUB_TOKEN") == "" {
		t.Errorf("kept it is not: %v", err)
	}
	if err := load(Options{DangerouslyKeepEnvironment: true}); err != nil {
		t.Errorf("a second load: %v", err)
	}
	if err := load(Options{}); err != nil || os.Getenv("SCRUB_TOKEN") != "" {
		t.Errorf("the default must take it out: %v", err)
	}
	path := t.TempDir() + "/x"
	if err := os.WriteFile(path, []byte(half+otherHalf), 0o400); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SCRUB_TOKEN_FILE", path)
	for range 2 {
		if err := load(Options{}); err != nil || os.Getenv("SCRUB_TOKEN_FILE") != path {
			t.Errorf("NAME_FILE must stay: %v", err)
		}
	}
}

// os/exec drops one of two equal names; os.StartProcess passes both.
func TestADoubledVariableIsAFault(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		p, err := os.StartProcess(self, []string{self, "-test.run=^" + t.Name() + "$", "-test.v"}, &os.ProcAttr{
			Env: append(os.Environ(), childVariable+"=1", "TWICE="+half+otherHalf, "TWICE="+otherHalf+half, "SAME="+half+otherHalf, "SAME="+half+otherHalf, "EMPTY=", "EMPTY="+half+otherHalf,
				"IN_FILE_FILE=/nonexistent/1", "IN_FILE_FILE=/nonexistent/2", "DATED="+half+otherHalf, "DATED_CREATED_AT=2026-01-01", "DATED_CREATED_AT=2026-02-01"),
			Files: []*os.File{nil, write, write},
		})
		_ = write.Close()
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		_, _ = out.ReadFrom(read)
		if state, err := p.Wait(); err != nil || !state.Success() {
			t.Errorf("%v %v\n%s", state, err, &out)
		}
		return
	}
	var twice struct {
		S Secret `secret:"TWICE,kind=token"`
	}
	var same struct {
		S Secret `secret:"SAME,kind=token"`
	}
	_, err := Load(t.Context(), &twice, Options{Sources: []Source{Env()}})
	if err == nil || !strings.Contains(err.Error(), "was set twice") || strings.Contains(err.Error(), otherHalf) {
		t.Errorf("got %v", err)
	}
	var empty struct { // which one is read, the empty one or the other, depends on who asks
		S Secret `secret:"EMPTY,kind=token,optional"`
	}
	if _, err := Load(t.Context(), &empty, Options{Sources: []Source{Env()}}); err == nil || !strings.Contains(err.Error(), "was set twice") {
		t.Errorf("an optional one, empty the first time: %v", err)
	}
	var beside struct {
		F Secret `secret:"IN_FILE,kind=token"`
		D Secret `secret:"DATED,kind=token"`
	}
	_, err = Load(t.Context(), &beside, Options{Sources: []Source{Env()}})
	for _, name := range []string{"IN_FILE_FILE", "DATED_CREATED_AT"} {
		if err == nil || !strings.Contains(err.Error(), name+" was set twice") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(t.Context(), &same, Options{Sources: []Source{Env()}}); err != nil {
		t.Errorf("twice the same is one value: %v", err)
	}
	if block, _ := os.ReadFile("/proc/self/environ"); bytes.Contains(block, []byte("SAME=")) || !bytes.Contains(block, []byte("TWICE=")) {
		t.Error("both copies must go, and nothing of a load that failed")
	}
}

func FuzzStatIsRead(f *testing.F) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	if start, end, ok := parseStat(stat); !ok || end <= start {
		f.Fatalf("our own stat reads as %d %d %v", start, end, ok)
	}
	f.Add(stat)
	f.Add([]byte("1 (a) b) c) R" + strings.Repeat(" 9", 60)))
	f.Add([]byte("1 (x) R 1 2"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if start, end, ok := parseStat(b); ok && (start <= 0 || end <= start || end-start > 64<<20) {
			t.Fatalf("%q: %d %d", b, start, end)
		}
	})
}

func FuzzMountInfoIsRead(f *testing.F) {
	const line = `36 35 98:0 /x /run/secrets/a\040b\134c rw - ext4 /dev/root rw` + "\n"
	points := parseMountInfo([]byte(line + "short\n" + `1 2 3 4 /\9\18 x`))
	if !points[`/run/secrets/a b\c`] || !points[`/\9\18`] || len(points) != 2 {
		f.Fatalf("%v", points)
	}
	if !mountPoints()["/proc"] {
		f.Fatal("/proc is mounted, or nothing here works")
	}
	f.Add([]byte(line))
	f.Fuzz(func(t *testing.T, b []byte) {
		for p := range parseMountInfo(b) {
			if len(p) > len(b) {
				t.Fatalf("%q from %q", p, b)
			}
		}
	})
}
