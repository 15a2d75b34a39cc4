package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/inovy/hardening/session"
)

// browser is an HTTPS client that behaves as one: it trusts the development CA
// alone, keeps cookies, asks for HTML and says where a form comes from. It
// does not follow redirects, so that each answer is seen.
type browser struct {
	client *http.Client
	origin string // https://host:port of the portal
}

// answer is a response that was read to its end, so that its handler is done.
type answer struct {
	*http.Response
	Text string
}

func newBrowser(origin string, roots *x509.CertPool) (*browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &browser{origin: origin, client: &http.Client{
		Jar:           jar,
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (b *browser) close() { b.client.CloseIdleConnections() }

func (b *browser) get(ctx context.Context, path string) (*answer, error) {
	return b.send(ctx, http.MethodGet, path, nil, "none")
}

// post sends a form as a page of the portal would.
func (b *browser) post(ctx context.Context, path string, form url.Values) (*answer, error) {
	return b.send(ctx, http.MethodPost, path, form, "same-origin")
}

// forge sends a form as a page of another site would.
func (b *browser) forge(ctx context.Context, path string, form url.Values) (*answer, error) {
	return b.send(ctx, http.MethodPost, path, form, "cross-site")
}

// login opens the form and sends it back with its token.
func (b *browser) login(ctx context.Context, user, password string) (*answer, error) {
	form := url.Values{"user": {user}, "password": {password}}
	a, err := b.get(ctx, "/login")
	if err != nil {
		return nil, err
	}
	if m := csrfField.FindStringSubmatch(a.Text); m != nil {
		form.Set(session.CSRFField, m[1])
	}
	return b.post(ctx, "/login", form)
}

var csrfField = regexp.MustCompile(`name="` + session.CSRFField + `" value="([^"]+)"`)

func (b *browser) send(ctx context.Context, method, path string, form url.Values, site string) (*answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, b.origin+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	r.Header.Set("Sec-Fetch-Site", site)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.origin)
		if site == "cross-site" {
			r.Header.Set("Origin", "https://attacker.example")
		}
	}
	return b.do(r)
}

func (b *browser) do(r *http.Request) (*answer, error) {
	resp, err := b.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	return &answer{resp, string(text)}, err
}

// cookie returns the session cookie, or nil.
func (b *browser) cookie() *http.Cookie {
	u, err := url.Parse(b.origin)
	if err != nil {
		return nil
	}
	for _, c := range b.client.Jar.Cookies(u) {
		if strings.HasPrefix(c.Name, "__Host-") {
			return c
		}
	}
	return nil
}
