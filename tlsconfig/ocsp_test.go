package tlsconfig_test

import (
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/inovy/hardening/tlsconfig"
)

// responder answers OCSP requests as a test has it. It runs outside of the
// bubble, whose clock the test hands it.
type responder struct {
	url string

	mu     sync.Mutex
	asked  int
	answer func(w http.ResponseWriter, serial *big.Int)
}

func newResponder(t *testing.T) *responder {
	if fips140.Enforced() {
		t.Skip("ocsp.CreateResponse, which only tests use, needs SHA-1")
	}
	r := new(responder)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.asked++
		ask, err := ocsp.ParseRequest(body)
		if err != nil || req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/ocsp-request" || r.answer == nil {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		r.answer(w, ask.SerialNumber)
	}))
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

func (r *responder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func (r *responder) set(answer func(w http.ResponseWriter, serial *big.Int)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// signed answers with a status, valid from now for a while.
func signed(t *testing.T, ca *authority, status int, now time.Time, life time.Duration, change func(*ocsp.Response)) func(http.ResponseWriter, *big.Int) {
	return func(w http.ResponseWriter, serial *big.Int) {
		tmpl := ocsp.Response{Status: status, SerialNumber: serial, ThisUpdate: now, NextUpdate: now.Add(life), RevokedAt: now}
		if change != nil {
			change(&tmpl)
		}
		signer, cert := ca.key, ca.cert
		if tmpl.Certificate != nil {
			cert = tmpl.Certificate
		}
		der, err := ocsp.CreateResponse(ca.cert, cert, tmpl, signer)
		if err != nil {
			t.Error(err)
		}
		w.Write(der)
	}
}

// stapled is a site whose certificate names a responder.
func stapled(t *testing.T, url string, withIssuer bool) *site {
	s := newSite(t, "a.test")
	key := ecKey(t, elliptic.P256())
	tmpl := leaf("a.test")
	tmpl.OCSPServer = []string{url}
	chain := []*x509.Certificate{s.ca.issue(tmpl, key)}
	if withIssuer {
		chain = append(chain, s.ca.cert)
	}
	s.write(chainPEM(chain...), keyPEM(t, key))
	return s
}

func stapleOf(t *testing.T, s *tlsconfig.Server) []byte {
	t.Helper()
	c, err := s.TLS().GetCertificate(&tls.ClientHelloInfo{ServerName: "a.test"})
	if err != nil {
		t.Fatal(err)
	}
	return c.OCSPStaple
}

func TestCertificatesThatNameAResponderAreStapled(t *testing.T) {
	t.Attr("control", "NCSC-TLS 3.4.5")
	r := newResponder(t)
	synctest.Test(t, func(t *testing.T) {
		site := stapled(t, r.url, true)
		r.set(signed(t, site.ca, ocsp.Good, time.Now(), 4*24*time.Hour, nil))
		s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source()), PollInterval: 1000 * time.Hour})
		time.Sleep(time.Second)
		staple := stapleOf(t, s)
		if _, err := ocsp.ParseResponse(staple, site.ca.cert); err != nil {
			t.Fatalf("%v; status %+v", err, s.Status()[0])
		}
		if st := s.Status()[0]; st.OCSP != "good" {
			t.Errorf("%+v", st)
		}
		if f := find(t, s.Check(), "HDN-TLS-034"); !f.Passed {
			t.Errorf("%v", f)
		}
		cs, err := inMemory(t, s.TLS(), &tls.Config{ServerName: "a.test", RootCAs: site.ca.pool()})
		if err != nil || string(cs.OCSPResponse) != string(staple) {
			t.Errorf("the client got %d bytes, %v", len(cs.OCSPResponse), err)
		}

		// Asked again at most 12 hours later, and an answer is never shown
		// after its end.
		if r.count() != 1 {
			t.Errorf("asked %d times", r.count())
		}
		time.Sleep(12*time.Hour + time.Minute)
		if r.count() != 2 {
			t.Errorf("asked %d times after 12 hours", r.count())
		}
		r.set(nil)
		time.Sleep(3 * 24 * time.Hour)
		if stapleOf(t, s) == nil {
			t.Error("a failing responder took away an answer that is still good")
		}
		time.Sleep(24 * time.Hour)
		if stapleOf(t, s) != nil {
			t.Error("an answer is shown after its end")
		}
		if f := find(t, s.Check(), "HDN-TLS-034"); f.Passed {
			t.Errorf("%v", f)
		}
		before := r.count()
		time.Sleep(24 * time.Hour)
		if n := r.count() - before; n < 20 || n > 26 {
			t.Errorf("asked %d times in a day of failures, want hourly", n)
		}
		r.set(signed(t, site.ca, ocsp.Good, time.Now(), 4*24*time.Hour, nil))
		time.Sleep(time.Hour + time.Minute)
		if stapleOf(t, s) == nil {
			t.Error("no staple after the responder came back")
		}
	})
}

func TestCertificatesWithoutAResponderAskNobody(t *testing.T) {
	s := started(t, tlsconfig.ServerConfig{Certs: certs(newSite(t, "a.test").source())})
	if st := s.Status()[0]; st.OCSP != "none" {
		t.Errorf("%+v", st)
	}
	if f := find(t, s.Check(), "HDN-TLS-034"); !f.Passed || f.Observed != "0 certificates name one" {
		t.Errorf("%v", f)
	}
}

func TestBadAnswersAreNeverStapled(t *testing.T) {
	stranger := newAuthority(t)
	for name, tt := range map[string]struct {
		answer func(t *testing.T, ca *authority) func(http.ResponseWriter, *big.Int)
		bare   bool // the chain file lacks the issuer
		want   string
	}{
		"signed by another": {func(t *testing.T, _ *authority) func(http.ResponseWriter, *big.Int) {
			return signed(t, stranger, ocsp.Good, time.Now(), time.Hour, nil)
		}, false, "not a valid one"},
		"for another certificate": {func(t *testing.T, ca *authority) func(http.ResponseWriter, *big.Int) {
			return signed(t, ca, ocsp.Good, time.Now(), time.Hour, func(r *ocsp.Response) { r.SerialNumber = big.NewInt(7) })
		}, false, "not a valid one"},
		"too old": {func(t *testing.T, ca *authority) func(http.ResponseWriter, *big.Int) {
			return signed(t, ca, ocsp.Good, time.Now().Add(-2*time.Hour), time.Hour, nil)
		}, false, "too old"},
		"without an end": {func(t *testing.T, ca *authority) func(http.ResponseWriter, *big.Int) {
			return signed(t, ca, ocsp.Good, time.Now(), time.Hour, func(r *ocsp.Response) { r.NextUpdate = time.Time{} })
		}, false, "too old"},
		"of the future": {func(t *testing.T, ca *authority) func(http.ResponseWriter, *big.Int) {
			return signed(t, ca, ocsp.Good, time.Now().Add(time.Hour), time.Hour, nil)
		}, false, "of the future"},
		"unknown": {func(t *testing.T, ca *authority) func(http.ResponseWriter, *big.Int) {
			return signed(t, ca, ocsp.Unknown, time.Now(), time.Hour, nil)
		}, false, "does not know"},
		"a delegate without the right": {func(t *testing.T, ca *authority) func(http.ResponseWriter, *big.Int) {
			key := ecKey(t, elliptic.P256())
			tmpl := leaf("evil.test") // any certificate of the CA
			delegate := &authority{t, ca.issue(tmpl, key), key}
			return func(w http.ResponseWriter, serial *big.Int) { w.Write(delegated(t, ca, delegate, serial)) }
		}, false, "not a valid one"},
		"rubbish": {func(*testing.T, *authority) func(http.ResponseWriter, *big.Int) {
			return func(w http.ResponseWriter, _ *big.Int) { io.WriteString(w, "canary") }
		}, false, "not a valid one"},
		"endless": {func(*testing.T, *authority) func(http.ResponseWriter, *big.Int) {
			return func(w http.ResponseWriter, _ *big.Int) { w.Write(make([]byte, 1<<20)) }
		}, false, "answered with an error"},
		"an error": {func(*testing.T, *authority) func(http.ResponseWriter, *big.Int) {
			return func(w http.ResponseWriter, _ *big.Int) { w.WriteHeader(http.StatusInternalServerError) }
		}, false, "answered with an error"},
		"a redirect": {func(*testing.T, *authority) func(http.ResponseWriter, *big.Int) {
			return func(w http.ResponseWriter, _ *big.Int) {
				w.Header().Set("Location", "http://169.254.169.254/")
				w.WriteHeader(http.StatusFound)
			}
		}, false, "answered with an error"},
		"no issuer in the chain": {func(t *testing.T, ca *authority) func(http.ResponseWriter, *big.Int) {
			return signed(t, ca, ocsp.Good, time.Now(), time.Hour, nil)
		}, true, "the chain lacks the issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newResponder(t)
			synctest.Test(t, func(t *testing.T) {
				site := stapled(t, r.url, !tt.bare)
				r.set(tt.answer(t, site.ca))
				s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source()), PollInterval: 1000 * time.Hour})
				time.Sleep(time.Second)
				if stapleOf(t, s) != nil {
					t.Error("it is stapled")
				}
				f := find(t, s.Check(), "HDN-TLS-034")
				if f.Passed || !strings.Contains(f.Observed, tt.want) || strings.Contains(f.Observed, "canary") {
					t.Errorf("%v, want %q", f, tt.want)
				}
				if f := find(t, s.Check(), "HDN-TLS-035"); !f.Passed {
					t.Errorf("%v", f)
				}
			})
		})
	}
}

// delegated is an answer signed by a certificate of the CA.
func delegated(t *testing.T, ca, by *authority, serial *big.Int) []byte {
	t.Helper()
	der, err := ocsp.CreateResponse(ca.cert, by.cert, ocsp.Response{Status: ocsp.Good, SerialNumber: serial, ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour), Certificate: by.cert}, by.key)
	if err != nil {
		t.Error(err)
	}
	return der
}

func TestADelegatedSignerIsAccepted(t *testing.T) {
	r := newResponder(t)
	synctest.Test(t, func(t *testing.T) {
		site := stapled(t, r.url, true)
		key := ecKey(t, elliptic.P256())
		tmpl := leaf()
		tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
		by := &authority{t, site.ca.issue(tmpl, key), key}
		now := time.Now()
		r.set(func(w http.ResponseWriter, serial *big.Int) {
			der, err := ocsp.CreateResponse(site.ca.cert, by.cert, ocsp.Response{Status: ocsp.Good, SerialNumber: serial, ThisUpdate: now, NextUpdate: now.Add(time.Hour), Certificate: by.cert}, by.key)
			if err != nil {
				t.Error(err)
			}
			w.Write(der)
		})
		s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source()), PollInterval: 1000 * time.Hour})
		time.Sleep(time.Second)
		if stapleOf(t, s) == nil {
			t.Errorf("%+v", s.Status()[0])
		}
	})
}

func TestARevokedCertificateGivesWayToTheStandby(t *testing.T) {
	t.Attr("control", "BIO2 8.24.05")
	r := newResponder(t)
	synctest.Test(t, func(t *testing.T) {
		site, reserve, rec := stapled(t, r.url, true), newAuthorityNamed(t, "Reserve"), &recorder{}
		r.set(signed(t, site.ca, ocsp.Revoked, time.Now(), time.Hour, nil))
		s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source(), tlsconfig.Standby(reserve.good("a.test"))), Audit: rec, PollInterval: 1000 * time.Hour})
		time.Sleep(time.Second)
		c, err := s.TLS().GetCertificate(&tls.ClientHelloInfo{ServerName: "a.test"})
		if err != nil || c.Leaf.Issuer.CommonName != "Reserve" {
			t.Errorf("%v is served, %v", c.Leaf.Issuer, err)
		}
		if f := find(t, s.Check(), "HDN-TLS-035"); f.Passed {
			t.Errorf("%v", f)
		}
		if st := s.Status()[0]; st.OCSP != "revoked" {
			t.Errorf("%+v", st)
		}
		if ev := rec.events(t, "certificate_rejected"); len(ev) != 1 || ev[0]["reason"] != "revoked by its issuer" {
			t.Errorf("%v", ev)
		}
	})
}

func TestStatusCountsEmbeddedTimestamps(t *testing.T) {
	entry := func(sizes ...int) (list []byte) {
		for _, n := range sizes {
			list = append(list, byte(n>>8), byte(n))
			list = append(list, make([]byte, n)...)
		}
		return append([]byte{byte(len(list) >> 8), byte(len(list))}, list...)
	}
	for name, tt := range map[string]struct {
		list []byte
		want int
	}{
		"two":                  {entry(120, 119), 2},
		"three":                {entry(1, 2, 3), 3},
		"none":                 {nil, 0},
		"an empty list":        {entry(), 0},
		"an empty entry":       {entry(0), 0},
		"a list that is short": {entry(120, 119)[:100], 0},
		"an entry too long":    {[]byte{0, 4, 0, 9, 1, 1}, 0},
		"a byte too much":      {append(entry(5), 0), 0},
	} {
		site := newSite(t, "a.test")
		site.put(func(c *x509.Certificate) {
			if tt.list == nil {
				return
			}
			value, err := asn1.Marshal(tt.list)
			if err != nil {
				t.Fatal(err)
			}
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: value}}
		}, "a.test")
		if st := started(t, tlsconfig.ServerConfig{Certs: certs(site.source())}).Status()[0]; st.SCTs != tt.want {
			t.Errorf("%s: %d, want %d", name, st.SCTs, tt.want)
		}
	}
}
