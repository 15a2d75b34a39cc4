package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// One browser logs the other out: the other's open event stream ends within two
// seconds, and its next page is the login.
func TestOneBrowserEndsTheSessionOfTheOther(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.5.2")
	url, passwords, _ := portal(t)
	var user, password string
	for k, p := range passwords {
		if role, name, _ := strings.Cut(k, ":"); role == "doctor" {
			user, password = name, p
		}
	}
	phone, phoneSays := browser(t)
	laptop, laptopSays := browser(t)
	run := func(ctx context.Context, says func() []string, actions ...chromedp.Action) {
		t.Helper()
		if err := chromedp.Run(ctx, actions...); err != nil {
			t.Fatalf("%v; the console says %q", err, says())
		}
	}
	for _, b := range []struct {
		ctx  context.Context
		says func() []string
	}{{phone, phoneSays}, {laptop, laptopSays}} {
		run(b.ctx, b.says, log.Enable(), runtime.Enable(),
			chromedp.Navigate(url+"/login"),
			chromedp.SendKeys(`input[name="user"]`, user, chromedp.ByQuery),
			chromedp.SendKeys(`input[name="password"]`, password, chromedp.ByQuery),
			chromedp.Submit(`input[name="password"]`, chromedp.ByQuery),
			chromedp.WaitVisible(`form[action="/logout"]`, chromedp.ByQuery),
			chromedp.Navigate(url+"/account/devices"),
			chromedp.WaitVisible(`html[data-events="open"] li[data-current]`, chromedp.ByQuery), // the stream is open
		)
	}
	var mine, others int
	run(laptop, laptopSays,
		chromedp.Evaluate(`document.querySelectorAll("li[data-current]").length`, &mine),
		chromedp.Evaluate(`document.querySelectorAll("li[data-device]:not([data-current])").length`, &others))
	if mine != 1 || others != 1 {
		t.Fatalf("the laptop sees %d of its own and %d other sessions", mine, others)
	}

	// The phone's page leaves as soon as its stream ends.
	left := make(chan time.Time, 1)
	go func() {
		if err := chromedp.Run(phone, chromedp.WaitVisible(`input[name="password"]`, chromedp.ByQuery)); err == nil {
			left <- time.Now()
		}
		close(left)
	}()
	clicked := time.Now()
	run(laptop, laptopSays,
		chromedp.Submit(`li[data-device]:not([data-current]) button`, chromedp.ByQuery),
		chromedp.WaitVisible(`.notice`, chromedp.ByQuery))
	select {
	case at, ok := <-left:
		if took := at.Sub(clicked); !ok || took > 2*time.Second {
			t.Errorf("the phone's stream ended after %v", took)
		} else {
			t.Logf("the phone's stream ended after %v", took)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("the phone's stream goes on; its console says %q", phoneSays())
	}
	var where string
	run(phone, phoneSays,
		chromedp.Navigate(url+"/patients"),
		chromedp.WaitVisible(`input[name="password"]`, chromedp.ByQuery),
		chromedp.Location(&where))
	if !strings.HasSuffix(where, "/login") {
		t.Errorf("the phone's next page is %s", where)
	}
	run(laptop, laptopSays,
		chromedp.Navigate(url+"/account/devices"),
		chromedp.WaitVisible(`li[data-current]`, chromedp.ByQuery),
		chromedp.Evaluate(`document.querySelectorAll("li[data-device]").length`, &others))
	if others != 1 {
		t.Errorf("the laptop still sees %d sessions", others)
	}
	for name, says := range map[string]func() []string{"phone": phoneSays, "laptop": laptopSays} {
		if said := says(); len(said) > 0 {
			t.Errorf("the browser of the %s complained: %q", name, said)
		}
	}
}
