package main

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"path/filepath"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/secrets"
	"github.com/inovy/hardening/tlsconfig"
)

// The program as a reader of its first lines would start it: a key in the
// environment, a certificate in the working directory.
func TestQuickstartCountsThePagesOfAVisit(t *testing.T) {
	t.Chdir(t.TempDir())
	logger, flags, out := slog.Default(), log.Flags(), log.Writer()
	t.Cleanup(func() {
		slog.SetDefault(logger)
		log.SetFlags(flags)
		log.SetOutput(out)
	})
	key, err := secrets.Generate(32)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SESSION_KEY", key)
	ca, err := tlsconfig.NewDevCA("ca", tlsconfig.DevCAConfig{Environment: hardening.Development})
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Issue("tls.crt", "tls.key", "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); serve(ctx, listener) }()

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}}}
	for _, want := range []string{"page 1 of your visit\n", "page 2 of your visit\n"} {
		resp, err := client.Get("https://" + listener.Addr().String() + "/")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || string(text) != want {
			t.Errorf("%d %q, %v; want %q", resp.StatusCode, text, err, want)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		if got := resp.Header.Get("Strict-Transport-Security"); got != "max-age=31536000; includeSubDomains" {
			t.Errorf("Strict-Transport-Security %q", got)
		}
		if got := resp.Header.Get("RateLimit"); got == "" {
			t.Errorf("no RateLimit header: %v", resp.Header)
		}
	}
	client.CloseIdleConnections()
	stop()
	<-done
	segments, err := filepath.Glob("audit/*")
	if err != nil || len(segments) == 0 {
		t.Errorf("the audit log left no files: %v", err)
	}
}
