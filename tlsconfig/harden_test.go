package tlsconfig_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

// A nil pointer in an interface would panic at the first record.
func TestANilHandlerIsAFault(t *testing.T) {
	var handler *slog.JSONHandler
	_, server := tlsconfig.NewServer(tlsconfig.ServerConfig{Audit: handler})
	_, client := tlsconfig.NewClient(tlsconfig.ClientConfig{Audit: handler})
	for name, err := range map[string]error{"server": server, "client": client} {
		found := false
		for f := range hardening.Faults(err) {
			found = found || f.Field == "Audit"
		}
		if !found {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHardenLimitsStreamsWhateverElseIsSet(t *testing.T) {
	own := &http.HTTP2Config{SendPingTimeout: time.Second}
	srv := &http.Server{HTTP2: own}
	tlsconfig.Harden(srv)
	if srv.HTTP2.MaxConcurrentStreams != 100 || srv.HTTP2.SendPingTimeout != time.Second || own.MaxConcurrentStreams != 0 {
		t.Errorf("%+v, the service's own %+v", srv.HTTP2, own)
	}
}

// Somebody passes the key itself, from an environment variable, where its path
// belongs. The error must not hand it on.
func TestAKeyPastedAsAPathIsNotShown(t *testing.T) {
	const key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIO1IVjbNc4n4ry\n-----END PRIVATE KEY-----\n"
	_, server := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: []tlsconfig.CertSource{tlsconfig.Files("tls.crt", key), tlsconfig.Files(key, key)}})
	_, client := tlsconfig.NewClient(tlsconfig.ClientConfig{ServerName: key, Roots: tlsconfig.CAFile(key)})
	for _, err := range []error{server, client} {
		if err == nil || strings.Contains(err.Error(), "c4n4ry") || strings.Contains(err.Error(), "MC4CAQ") {
			t.Errorf("%v", err)
		}
	}
}
