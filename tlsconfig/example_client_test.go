package tlsconfig_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

// A client for calls between services. Its CA file may be replaced while it
// runs.
func ExampleNewClient() {
	url, dir, stop := devServer(nil)
	defer stop()

	client, err := tlsconfig.NewClient(tlsconfig.ClientConfig{
		Roots:  tlsconfig.CAFile(filepath.Join(dir, "ca.crt")), // leave it out for public servers
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err) // every fault at once
	}
	defer client.Close()

	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url+"/?token=s3cret", nil)
	if err != nil {
		log.Fatal(tlsconfig.SafeError(err))
	}
	res, err := client.Do(req) // or client.HTTPClient() for libraries that take one
	if err != nil {
		log.Fatal(err) // without the token
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	fmt.Println(res.Proto, string(body))

	_, err = client.HTTPClient().Get("http://127.0.0.1/?token=s3cret")
	fmt.Println(errors.Is(err, tlsconfig.ErrPlainHTTP), tlsconfig.SafeError(err))
	// Output:
	// HTTP/2.0 hello
	// true Get "http://127.0.0.1": tlsconfig: call to 127.0.0.1: only https URLs are called
}

// Services that know each other by SPIFFE ID or DNS name. SetAllow takes a
// client off the list at run time: on connections that it holds as well.
func ExampleClientAuth() {
	url, dir, stop := devServer(&tlsconfig.ClientAuth{
		CAs:   tlsconfig.CAFile("ca.crt"),
		Allow: []tlsconfig.SAN{tlsconfig.DNS("api.internal"), tlsconfig.SPIFFE("spiffe://inovy/jobs/*")},
	})
	defer stop()

	client, err := tlsconfig.NewClient(tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(filepath.Join(dir, "ca.crt")), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	_, err = client.HTTPClient().Get(url) // without a certificate of its own
	fmt.Println(tlsconfig.SafeError(err) != nil)
	// Output: true
}

// A reserve of another supplier takes over when the certificate expires or is
// revoked (BIO2 8.24.05).
func ExampleStandby() {
	dir, cert, key := devFiles()
	defer os.RemoveAll(dir)
	server, err := tlsconfig.NewServer(tlsconfig.ServerConfig{
		Certs: []tlsconfig.CertSource{
			tlsconfig.Files(cert, key),
			tlsconfig.Standby(tlsconfig.Files(cert, key)), // another supplier's, in earnest
		},
		Environment: hardening.Development,
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	for _, c := range server.Status() {
		fmt.Println(c.Use, c.Expiry)
	}
	for _, f := range server.Check() {
		if !f.Passed {
			fmt.Println(f.ID, f.Title)
		}
	}
	// Output:
	// served fresh
	// standby fresh
	// HDN-TLS-036 Standby certificates come from another issuer
}

// devServer serves "hello" with a development certificate.
func devServer(auth *tlsconfig.ClientAuth) (url, dir string, stop func()) {
	dir, cert, key := devFiles()
	ca, err := tlsconfig.NewDevCA(dir, tlsconfig.DevCAConfig{Environment: hardening.Development})
	if err != nil {
		log.Fatal(err)
	}
	pem, err := os.ReadFile(ca.CertFile())
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), pem, 0o600); err != nil {
		log.Fatal(err)
	}
	if auth != nil {
		auth.CAs = tlsconfig.CAFile(filepath.Join(dir, "ca.crt"))
	}
	server, err := tlsconfig.NewServer(tlsconfig.ServerConfig{
		Certs: []tlsconfig.CertSource{tlsconfig.Files(cert, key)}, ClientAuth: auth,
		Environment: hardening.Development, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := server.HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	go srv.ServeTLS(l, "", "")
	return "https://" + l.Addr().String(), dir, func() {
		srv.Close()
		server.Close()
		os.RemoveAll(dir)
	}
}
