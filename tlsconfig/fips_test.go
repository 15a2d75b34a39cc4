package tlsconfig_test

import (
	"crypto/fips140"
	"crypto/tls"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/inovy/hardening/tlsconfig"
)

// The strictest mode panics on or refuses what is not approved: every profile,
// mutual TLS, tickets and the client must do without. The parent only starts
// the child, because the mode is chosen at start-up.
func TestEverythingRunsInFIPS140OnlyMode(t *testing.T) {
	if !fips140.Enforced() {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	t.Attr("control", "ASVS v5.0.0-11.1.2")
	for _, profile := range profiles {
		m := newMutual(t, func(c *tlsconfig.ServerConfig) { c.Profile = profile }, tlsconfig.DNS("alice.internal"))
		c := newClient(t, tlsconfig.ClientConfig{Profile: profile, Roots: tlsconfig.CAFile(caFile(t, m.site.ca)), ServerName: "localhost", Certs: certs(clientPair(t, m.clients))})
		if _, err := dial(t, echo(t, m.TLS()), c.TLS()); err != nil {
			t.Errorf("%v, mutual: %v", profile, err)
		}
		s := started(t, tlsconfig.ServerConfig{Profile: profile, Certs: certs(m.site.source()), TicketKeys: &ring{roots: []string{"k"}}})
		addr := echo(t, s.TLS())
		plain := newClient(t, tlsconfig.ClientConfig{Profile: profile, Roots: tlsconfig.CAFile(caFile(t, m.site.ca)), ServerName: "localhost"})
		var last tls.ConnectionState
		for range 2 {
			var err error
			if last, err = dial(t, addr, plain.TLS()); err != nil {
				t.Errorf("%v: %v", profile, err)
			}
		}
		if want := profile == tlsconfig.Intermediate || profile == tlsconfig.Modern; last.DidResume != want {
			t.Errorf("%v: resumed %t", profile, last.DidResume)
		}
		for _, ids := range [][]string{failed(m.Check()), failed(s.Check()), failed(c.Check()), failed(plain.Check())} {
			if len(ids) > 0 {
				t.Errorf("%v: failed %v", profile, ids)
			}
		}
	}
}
