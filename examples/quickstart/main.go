// Command quickstart needs SESSION_KEY (32 random bytes, base64) in the environment, tls.crt and tls.key beside it, and keeps ./audit.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"

	"github.com/inovy/hardening/auditlog"
	"github.com/inovy/hardening/headers"
	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/secrets"
	"github.com/inovy/hardening/session"
	"github.com/inovy/hardening/tlsconfig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	serve(ctx, must(net.Listen("tcp", "127.0.0.1:8443")))
}

func serve(ctx context.Context, listener net.Listener) {
	type visit struct{ Pages int }
	var keys struct {
		Session *secrets.Ring `secret:"SESSION_KEY,kind=key,bits=256,maxage=90d"`
	}
	defer must(secrets.Load(ctx, &keys, secrets.Options{})).Close()
	trail := must(auditlog.Open(ctx, auditlog.Config{Dir: "audit"}))
	defer trail.Close()
	slog.SetDefault(slog.New(trail.Handler()))
	sessions := must(session.New[visit](session.Config{Keys: keys.Session, Audit: trail.Handler()}))
	limits := must(ratelimit.New(ratelimit.Config{Identify: func(r *http.Request) (ratelimit.Identity, error) {
		s, err := sessions.Get(r.Context())
		return ratelimit.Identity{User: s.User()}, err
	}}))
	policy := must(headers.New(headers.Config{}))
	server := must(tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: []tlsconfig.CertSource{tlsconfig.Files("tls.crt", "tls.key")}}))
	srv := server.HTTPServer(policy.Wrap(sessions.Wrap(limits.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := sessions.Get(r.Context())          // never nil; where it fails,
		_ = s.Update(func(v *visit) { v.Pages++ }) // the room answers 503
		fmt.Fprintf(w, "page %d of your visit\n", s.Data().Pages)
	})))))
	go func() { log.Println(srv.ServeTLS(listener, "", "")) }()
	<-ctx.Done()
	_ = srv.Shutdown(context.Background()) // lets running requests finish
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
