package integration

import (
	"encoding/json"
	"encoding/xml"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/inovy/hardening/internal/testenv"
	"github.com/inovy/hardening/tlsconfig"
)

// What testssl.sh may say above INFO, and why it stays.
var testsslAllowed = map[string]string{
	"engine_problem":     "the scanner's own openssl knows no GOST ciphers; crypto/tls has none to offer",
	"TLS_session_ticket": "crypto/tls fixes the lifetime that it names at 7 days (RFC 8446 section 4.6.1 allows them); the keys that open tickets are replaced long before, and the NCSC profiles send none",
}

type testsslFinding struct {
	ID, Severity, Finding string
}

func testssl(t *testing.T, s scanned, options ...string) []testsslFinding {
	t.Helper()
	program := testenv.Program(t, "apt-get install testssl.sh bsdmainutils", "testssl", "testssl.sh")
	openssl := testenv.Program(t, "apt-get install openssl", "openssl")
	report := filepath.Join(t.TempDir(), "testssl.json")
	args := append(options, "--openssl", openssl, "--nodns", "min", "--warnings", "batch", "--color", "0", "--quiet", "--ip", "127.0.0.1", "--add-ca", s.caFile, "--jsonfile", report, s.addr)
	out, runErr := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	data, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v: %v\n%s", runErr, err, out)
	}
	var fs []testsslFinding
	if err := json.Unmarshal(data, &fs); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return fs
}

// above INFO: everything that testssl.sh does not call OK or INFO, its own
// troubles included.
func aboveInfo(fs []testsslFinding) []testsslFinding {
	return slices.DeleteFunc(slices.Clone(fs), func(f testsslFinding) bool { return f.Severity == "OK" || f.Severity == "INFO" })
}

// The example that people start from, on both profiles that it serves.
func TestTestsslFindsNothingAboveInfoInThePortal(t *testing.T) {
	testenv.Program(t, "apt-get install testssl.sh bsdmainutils", "testssl", "testssl.sh")
	for _, profile := range []string{"intermediate", "modern"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			url, _, state := portal(t, "-profile", profile)
			_, port, err := net.SplitHostPort(strings.TrimPrefix(url, "https://"))
			if err != nil {
				t.Fatal(err)
			}
			fs := testssl(t, scanned{addr: "localhost:" + port, port: port, caFile: filepath.Join(state, "ca", "ca.crt")})
			for _, f := range aboveInfo(fs) {
				if testsslAllowed[f.ID] == "" && testsslAllowedInPortal[f.ID] == "" {
					t.Errorf("%s %s: %s", f.Severity, f.ID, f.Finding)
				}
			}
			if len(fs) < 100 {
				t.Errorf("only %d findings: the scan is not complete", len(fs))
			}
		})
	}
}

// testsslAllowedInPortal is allowed beside testsslAllowed.
var testsslAllowedInPortal = map[string]string{
	"cert_expirationStatus": "a development certificate lives 30 days on purpose and is made anew by itself",
	"cert_notAfter":         "the same, said twice",
	"cert_revocation":       "a development CA revokes nothing: it is thrown away",
	"HTTP_status_code":      "the portal sends who is not logged in to the login",
}

func TestTestsslFindsNothingAboveInfo(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-12.1.2")
	t.Attr("control", "BIO2 5.14.01")
	for _, profile := range []tlsconfig.Profile{tlsconfig.Intermediate, tlsconfig.Modern} {
		t.Run(profile.String(), func(t *testing.T) {
			t.Parallel() // a minute each, mostly waiting
			fs := testssl(t, startScanned(t, profile))
			ids := map[string]testsslFinding{}
			for _, f := range fs {
				ids[f.ID] = f
			}
			// It looked at what matters, and found our server.
			want := map[string]string{"TLS1": "not offered", "TLS1_1": "not offered", "TLS1_3": "offered", "heartbleed": "not vulnerable", "ROBOT": "not vulnerable", "LUCKY13": "not vulnerable", "HSTS_time": "days"}
			if profile == tlsconfig.Intermediate { // TLS 1.3 knows neither
				want["SWEET32"], want["secure_renego"] = "not vulnerable", "supported"
			}
			for id, finding := range want {
				if f, ok := ids[id]; !ok || !strings.Contains(f.Finding, finding) {
					t.Errorf("%s: %+v, want %q", id, f, finding)
				}
			}
			for _, f := range aboveInfo(fs) {
				if reason := testsslAllowed[f.ID]; reason == "" {
					t.Errorf("%s %s: %s", f.Severity, f.ID, f.Finding)
				}
			}
			if len(fs) < 100 {
				t.Errorf("only %d findings: the scan is not complete", len(fs))
			}
		})
	}
	t.Run("and something in Go's defaults", func(t *testing.T) {
		t.Parallel()
		if fs := aboveInfo(testssl(t, startScanned(t, goDefaults), "--std")); len(fs) == 0 {
			t.Error("nothing: the scan judges nothing")
		}
	})
}

// sslscanReport is the part of its XML that tells good from bad.
type sslscanReport struct {
	Test struct {
		Protocols []struct {
			Type    string `xml:"type,attr"`
			Version string `xml:"version,attr"`
			Enabled int    `xml:"enabled,attr"`
		} `xml:"protocol"`
		Compression []struct {
			Supported int `xml:"supported,attr"`
		} `xml:"compression"`
		Renegotiation []struct {
			Supported int `xml:"supported,attr"`
			Secure    int `xml:"secure,attr"`
		} `xml:"renegotiation"`
		Heartbleed []struct {
			Vulnerable int `xml:"vulnerable,attr"`
		} `xml:"heartbleed"`
		Ciphers []struct {
			Version  string `xml:"sslversion,attr"`
			Name     string `xml:"cipher,attr"`
			Strength string `xml:"strength,attr"`
			Bits     int    `xml:"bits,attr"`
		} `xml:"cipher"`
		Groups []struct {
			Name string `xml:"name,attr"`
			Bits int    `xml:"bits,attr"`
		} `xml:"group"`
		Certificates []struct {
			Signature string `xml:"signature-algorithm"`
			Expired   bool   `xml:"expired"`
		} `xml:"certificates>certificate"`
	} `xml:"ssltest"`
}

// complaints of the scan: what it marks as weaker than its best two classes.
func (r sslscanReport) complaints() []string {
	var out []string
	for _, p := range r.Test.Protocols {
		if p.Enabled != 0 && (p.Type != "tls" || p.Version != "1.2" && p.Version != "1.3") {
			out = append(out, "protocol "+p.Type+" "+p.Version)
		}
	}
	for _, c := range r.Test.Compression {
		if c.Supported != 0 {
			out = append(out, "compression")
		}
	}
	for _, n := range r.Test.Renegotiation {
		if n.Supported != 0 && n.Secure == 0 {
			out = append(out, "insecure renegotiation")
		}
	}
	for _, h := range r.Test.Heartbleed {
		if h.Vulnerable != 0 {
			out = append(out, "heartbleed")
		}
	}
	for _, c := range r.Test.Ciphers {
		if c.Strength != "strong" && c.Strength != "acceptable" || c.Bits < 128 || strings.HasSuffix(c.Name, "-SHA") {
			out = append(out, "cipher "+c.Name+" "+c.Strength)
		}
	}
	for _, g := range r.Test.Groups {
		if g.Bits < 128 {
			out = append(out, "group "+g.Name)
		}
	}
	for _, c := range r.Test.Certificates {
		if c.Expired || strings.Contains(strings.ToLower(c.Signature), "sha1") || strings.Contains(strings.ToLower(c.Signature), "md5") {
			out = append(out, "certificate "+c.Signature)
		}
	}
	return out
}

func sslscan(t *testing.T, s scanned) sslscanReport {
	t.Helper()
	program := testenv.Program(t, "apt-get install sslscan", "sslscan")
	out, err := exec.CommandContext(t.Context(), program, "--no-colour", "--ipv4", "--show-certificate", "--xml=-", s.addr).Output()
	if err != nil {
		t.Fatal(err)
	}
	var r sslscanReport
	if err := xml.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(r.Test.Ciphers) < 3 || len(r.Test.Groups) < 3 || len(r.Test.Protocols) < 6 || len(r.Test.Heartbleed) == 0 || len(r.Test.Certificates) == 0 {
		t.Fatalf("the scan is not complete:\n%s", out)
	}
	return r
}

func TestSslscanFindsNothing(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-12.1.2")
	for profile, suites := range map[tlsconfig.Profile]int{tlsconfig.Intermediate: 9, tlsconfig.Modern: 3} {
		t.Run(profile.String(), func(t *testing.T) {
			r := sslscan(t, startScanned(t, profile))
			if bad := r.complaints(); len(bad) > 0 {
				t.Errorf("%q", bad)
			}
			if n := len(r.Test.Ciphers); n != suites {
				t.Errorf("%d suites, want %d: %+v", n, suites, r.Test.Ciphers)
			}
		})
	}
	if bad := sslscan(t, startScanned(t, goDefaults)).complaints(); len(bad) == 0 {
		t.Error("nothing in Go's defaults either: the scan judges nothing")
	}
}

// The example that people start from is no weaker than the room it uses.
func TestSslscanFindsNothingInThePortal(t *testing.T) {
	testenv.Program(t, "apt-get install sslscan", "sslscan")
	url, _, _ := portal(t)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	if bad := sslscan(t, scanned{addr: "localhost:" + port, port: port}).complaints(); len(bad) > 0 {
		t.Errorf("%q", bad)
	}
}
