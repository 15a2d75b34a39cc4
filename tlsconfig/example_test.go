package tlsconfig_test

import (
	"crypto/tls"
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

// The lines a service copies. With the zero Profile it speaks TLS 1.3, and 1.2
// with authenticated ciphers and forward secrecy only.
func ExampleNewServer() {
	dir, cert, key := devFiles()
	defer os.RemoveAll(dir)
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") })

	server, err := tlsconfig.NewServer(tlsconfig.ServerConfig{
		Certs:       []tlsconfig.CertSource{tlsconfig.Files(cert, key)},
		Environment: hardening.Development, // leave it out in production
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err) // every fault at once
	}
	srv := server.HTTPServer(hello) // then srv.ListenAndServeTLS("", ""), or on a listener:

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go srv.ServeTLS(l, "", "")
	defer srv.Close()

	ca, _ := tlsconfig.NewDevCA(dir, tlsconfig.DevCAConfig{Environment: hardening.Development})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, ForceAttemptHTTP2: true}}
	res, err := client.Get("https://" + l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	fmt.Print(res.Proto, " ", tls.VersionName(res.TLS.Version), " ", res.TLS.CurveID, ": ", string(body))
	// Output: HTTP/2.0 TLS 1.3 X25519MLKEM768: hello
}

// Every fault of a Config comes at once, each with what to do.
func ExampleNewServer_faults() {
	_, err := tlsconfig.NewServer(tlsconfig.ServerConfig{
		Profile: 42,
		Certs:   []tlsconfig.CertSource{tlsconfig.Files("missing.crt", "missing.key")},
	})
	for f := range hardening.Faults(err) {
		fmt.Println(f.Field, f.Reason)
	}
	// Output:
	// Profile is not a profile
	// Certs[0] does not exist
	// Certs[0] does not exist
}

// A certificate for a developer's machine. Issue may run at every start: it
// keeps what is fresh.
func ExampleNewDevCA() {
	dir, _ := os.MkdirTemp("", "devca")
	defer os.RemoveAll(dir)
	ca, err := tlsconfig.NewDevCA(dir, tlsconfig.DevCAConfig{Environment: hardening.Development})
	if err != nil {
		log.Fatal(err)
	}
	err = ca.Issue(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), "localhost", "127.0.0.1")
	fmt.Println("issued:", err == nil)

	err = ca.Issue(filepath.Join(dir, "x.crt"), filepath.Join(dir, "x.key"), "example.com")
	for f := range hardening.Faults(err) {
		fmt.Println(f.Field, f.Reason)
	}
	// Output:
	// issued: true
	// hosts[0] is not within the domains of this CA
}

// One ticket key for all nodes, for ever: whoever gets it reads what was sent.
// An empty tls.Config fails HDN-TLS-002, except in FIPS 140-3 mode.
func ExampleAudit() {
	dir, cert, key := devFiles()
	defer os.RemoveAll(dir)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		log.Fatal(err)
	}
	cfg := &tls.Config{
		Certificates:     []tls.Certificate{pair},
		MinVersion:       tls.VersionTLS13,
		SessionTicketKey: [32]byte{1, 2, 3},
	}
	for _, f := range tlsconfig.Audit(cfg, tlsconfig.AuditOptions{Environment: hardening.Development}) {
		if !f.Passed {
			fmt.Println(f.ID, f.Severity, f.Title)
		}
	}
	// Output: HDN-TLS-005 medium Session ticket keys rotate
}

// A plain-text server that only redirects needs limits too.
func ExampleHarden() {
	srv := &http.Server{Addr: ":80", Handler: http.NotFoundHandler()}
	tlsconfig.Harden(srv)
	fmt.Println(srv.ReadHeaderTimeout, srv.MaxHeaderBytes)
	// Output: 10s 65536
}

func devFiles() (dir, cert, key string) {
	dir, err := os.MkdirTemp("", "devca")
	if err != nil {
		log.Fatal(err)
	}
	ca, err := tlsconfig.NewDevCA(dir, tlsconfig.DevCAConfig{Environment: hardening.Development})
	if err != nil {
		log.Fatal(err)
	}
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if err := ca.Issue(cert, key, "127.0.0.1"); err != nil {
		log.Fatal(err)
	}
	return dir, cert, key
}
