// Package integration holds the tests that need heavy clients: a real browser,
// scanners, servers. See internal/testenv for how they get these.
package integration

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/inovy/hardening/internal/testenv"
)

// portal starts the example on a free port and returns its address, the
// passwords that it prints, and its state directory.
func portal(t *testing.T, args ...string) (url string, passwords map[string]string, state string) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "portal")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./examples/portal")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithCancel(context.Background())
	state = filepath.Join(t.TempDir(), "state")
	cmd := exec.CommandContext(ctx, bin, append([]string{"-addr", "127.0.0.1:0", "-state", state}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	passwords = map[string]string{}
	address := regexp.MustCompile(`^\s+open\s+(https://\S+)/$`)
	user := regexp.MustCompile(`^  ([a-z.-]+)\s+(\S{12,})\s+(doctor|patient|admin)\s`)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		if m := address.FindStringSubmatch(line); m != nil {
			url = m[1]
		}
		if m := user.FindStringSubmatch(line); m != nil {
			passwords[m[3]+":"+m[1]] = m[2]
		}
		if strings.Contains(line, "Stop with") {
			go func() { // the pipe must not fill up
				for lines.Scan() {
				}
			}()
			break
		}
	}
	if url == "" || len(passwords) < 3 {
		t.Fatalf("the portal printed url %q and %d users", url, len(passwords))
	}
	return url, passwords, state
}

// browser returns a context of a real Chromium, and what its console said:
// violations of the content security policy are reported there.
func browser(t *testing.T) (context.Context, func() []string) {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(testenv.Chromium(t)), chromedp.NoSandbox, chromedp.Flag("ignore-certificate-errors", true),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.UserDataDir(profileDir(t)))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 90*time.Second)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var said []string
	chromedp.ListenTarget(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := ev.(type) {
		case *log.EventEntryAdded:
			said = append(said, e.Entry.Text)
		case *runtime.EventExceptionThrown:
			said = append(said, e.ExceptionDetails.Error())
		}
	})
	return ctx, func() []string { mu.Lock(); defer mu.Unlock(); return append([]string(nil), said...) }
}

// profileDir is a directory for the browser. The processes that it starts may
// write there for a moment after it ended, so one attempt to remove it can fail.
func profileDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "profile-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 100 {
			if err = os.RemoveAll(dir); err == nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Error(err)
	})
	return dir
}

// A person's way through the portal in a real browser: every page obeys its
// own policy, and an injected script does not run.
func TestPortalInChromium(t *testing.T) {
	ctx, console := browser(t)
	url, passwords, _ := portal(t)
	var user, password string
	for k, p := range passwords {
		if role, name, _ := strings.Cut(k, ":"); role == "doctor" {
			user, password = name, p
		}
	}
	var title, color, ran string
	err := chromedp.Run(ctx, log.Enable(), runtime.Enable(),
		chromedp.Navigate(url+"/login"),
		chromedp.SendKeys(`input[name="user"]`, user, chromedp.ByQuery),
		chromedp.SendKeys(`input[name="password"]`, password, chromedp.ByQuery),
		chromedp.Submit(`input[name="password"]`, chromedp.ByQuery),
		chromedp.WaitVisible(`form[action="/logout"]`, chromedp.ByQuery),
		chromedp.Title(&title),
		// The stylesheet was loaded and applied.
		chromedp.Evaluate(`String([...document.styleSheets].length)`, &color),
	)
	if err != nil {
		t.Fatalf("%v; the console says %q", err, console())
	}
	if said := console(); len(said) > 0 {
		t.Errorf("the browser complained: %q", said)
	}
	if title == "" || color == "0" {
		t.Errorf("title %q, %s stylesheets", title, color)
	}
	// What an attacker gets into a page's markup: an inline handler, and a script
	// behind an attribute that waits for a click.
	err = chromedp.Run(ctx,
		chromedp.Evaluate(`(() => {
			const b = document.createElement("div");
			b.innerHTML = "<img src=x onerror='window.injected = 1'><a id=trap href='javascript:window.injected = 2'>x</a>";
			document.body.append(b);
			document.getElementById("trap").click();
		})()`, nil),
		chromedp.Poll(`performance.getEntriesByType("resource").length > 0`, nil, chromedp.WithPollingTimeout(10*time.Second)),
		chromedp.Evaluate(`String(window.injected)`, &ran))
	if err != nil {
		t.Fatal(err)
	}
	if ran != "undefined" {
		t.Errorf("an injected script ran: %s", ran)
	}
	blocked := strings.Join(console(), "\n")
	if !strings.Contains(blocked, "Content Security Policy") && !strings.Contains(blocked, "content security policy") {
		t.Errorf("the browser does not say that it blocked anything: %q", blocked)
	}
}
