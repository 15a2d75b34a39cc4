package integration

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening/internal/testenv"
	"github.com/inovy/hardening/tlsconfig"
)

// The levels of the NCSC-NL TLS guidelines 2025-05, written down here a second
// time and from the guidelines, not from the package that is judged.
const (
	good         = "good"
	sufficient   = "sufficient"
	phaseOut     = "phase out"
	insufficient = "insufficient"
)

// ncscSuite: paragraphs 3.3.2 to 3.3.5 and appendix B, for the names of OpenSSL
// and of the IANA.
func ncscSuite(name string) string {
	name = strings.NewReplacer("_WITH_", "-", "TLS_ECDHE_", "ECDHE-", "TLS_RSA_", "", "_", "-").Replace(name)
	name = strings.NewReplacer("AES-128-CBC", "AES128", "AES-256-CBC", "AES256", "AES-128", "AES128", "AES-256", "AES256").Replace(name)
	match := func(pattern string) bool { return regexp.MustCompile(pattern).MatchString(name) }
	switch {
	case match(`^TLS-AES256-GCM-SHA384$|^TLS-CHACHA20-POLY1305-SHA256$`):
		return good
	case match(`^TLS-AES128-(GCM|CCM)-SHA256$`),
		match(`^ECDHE-(ECDSA|RSA)-(AES128-GCM-SHA256|AES256-GCM-SHA384|CHACHA20-POLY1305(-SHA256)?)$`),
		match(`^ECDHE-ECDSA-AES(128|256)-CCM$`):
		return sufficient
	case match(`CCM8|^(AECDH|ADH)|PSK|NULL|3DES|DES-CBC3|RC4`):
		return insufficient
	case match(`^DHE-RSA-.*(GCM|CCM|CHACHA20|SHA256|SHA384)`),
		match(`^ECDHE-(ECDSA|RSA)-.*(SHA256|SHA384)$`):
		return phaseOut
	}
	return insufficient
}

// ncscGroup: paragraph 3.3.3.
func ncscGroup(name string) string {
	switch strings.ToLower(name) {
	case "x25519mlkem768", "secp256r1mlkem768", "secp384r1mlkem1024":
		return good
	case "x25519", "x448", "p-256", "p-384", "p-521", "brainpoolp256r1", "brainpoolp384r1", "brainpoolp512r1":
		return sufficient
	case "secp224r1", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192":
		return phaseOut
	}
	return insufficient
}

// ncscHash: paragraph 3.3.5.
func ncscHash(name string) string {
	switch name {
	case "SHA256", "SHA384", "SHA512":
		return good
	case "SHA224":
		return phaseOut
	}
	return insufficient
}

// ncscKey: paragraph 3.3.2. No key of a certificate is called good.
func ncscKey(kind, bits string) string {
	n, err := strconv.Atoi(bits)
	switch {
	case err != nil:
		return insufficient
	case kind == "id-ecPublicKey" && n >= 256, kind == "rsaEncryption" && n >= 3072:
		return sufficient
	case kind == "id-ecPublicKey" && n == 224, kind == "rsaEncryption" && n >= 2048:
		return phaseOut
	}
	return insufficient
}

// scan asks a server for everything that can be asked for, one thing at a
// time, and lists what it agreed to as "aspect: value (level)".
type scan struct {
	t       *testing.T
	server  scanned
	openssl string
	agreed  []string
	asked   map[string]int
}

func (s *scan) note(aspect, value, level string) {
	s.agreed = append(s.agreed, fmt.Sprintf("%s: %s (%s)", aspect, value, level))
}

// client runs openssl s_client and returns what it says; ok is whether the
// handshake succeeded.
func (s *scan) client(input string, args ...string) (says string, ok bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.openssl, append([]string{"s_client", "-connect", "127.0.0.1:" + s.server.port, "-servername", "localhost", "-CAfile", s.server.caFile, "-verify_return_error"}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil && !strings.Contains(string(out), "Cipher is (NONE)") && strings.Contains(string(out), "Cipher is ")
}

func (s *scan) versions() {
	for v, level := range map[uint16]string{tls.VersionTLS10: insufficient, tls.VersionTLS11: insufficient, tls.VersionTLS12: sufficient, tls.VersionTLS13: good} {
		s.asked["version"]++
		if cs, err := s.server.handshake(s.t, &tls.Config{MinVersion: v, MaxVersion: v}); err == nil && cs.Version == v { //nolint:gosec // G402: asks whether the server is as weak
			s.note("version", tls.VersionName(v), level)
		}
	}
	for flag, level := range map[string]string{"-tls1": insufficient, "-tls1_1": insufficient} {
		s.asked["version"]++
		if _, ok := s.client("", flag, "-cipher", "ALL:@SECLEVEL=0"); ok {
			s.note("version", flag, level)
		}
	}
}

func (s *scan) suites() {
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if slices.Equal(suite.SupportedVersions, []uint16{tls.VersionTLS13}) {
			continue // OpenSSL asks for these
		}
		s.asked["suite"]++
		if _, err := s.server.handshake(s.t, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}}); err == nil { //nolint:gosec // G402: asks whether the server is as weak
			s.note("suite", suite.Name, ncscSuite(suite.Name))
		}
	}
	for version, list := range map[string]string{"-tls1_2": "ALL:COMPLEMENTOFALL:@SECLEVEL=0", "-tls1_3": ""} {
		args := []string{"ciphers", "-s", version}
		if list != "" {
			args = append(args, list)
		}
		out, err := exec.CommandContext(s.t.Context(), s.openssl, args...).Output()
		if err != nil {
			s.t.Fatal(err)
		}
		for name := range strings.SplitSeq(strings.TrimSpace(string(out)), ":") {
			if version == "-tls1_2" && strings.HasPrefix(name, "TLS_") || strings.Contains(name, "PSK") || strings.Contains(name, "SRP") {
				continue // needs a shared secret or a password, which no server of ours has
			}
			flag := map[string][]string{"-tls1_2": {"-cipher", name + ":@SECLEVEL=0"}, "-tls1_3": {"-ciphersuites", name}}[version]
			s.asked["suite"]++
			if _, ok := s.client("", append([]string{version}, flag...)...); ok {
				s.note("suite", name, ncscSuite(name))
			}
		}
	}
}

func (s *scan) groups() {
	for _, g := range []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024} { // OpenSSL 3.0 has none of them
		s.asked["group"]++
		if cs, err := s.server.handshake(s.t, &tls.Config{CurvePreferences: []tls.CurveID{g}}); err == nil && cs.CurveID == g {
			s.note("group", g.String(), ncscGroup(g.String()))
		}
	}
	for _, g := range []string{
		"X25519", "X448", "P-256", "P-384", "P-521", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1", "secp256k1", "secp224r1", "secp192r1",
		"sect163k1", "sect233k1", "sect283k1", "sect409k1", "sect571k1", "ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192",
	} {
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			s.asked["group"]++
			if _, ok := s.client("", version, "-cipher", "ALL:@SECLEVEL=0", "-groups", g); ok {
				s.note("group", g, ncscGroup(g))
			}
		}
	}
}

func (s *scan) signatures() {
	for _, hash := range []string{"SHA1", "SHA224", "SHA256", "SHA384", "SHA512"} {
		for _, alg := range []string{"ECDSA+", "RSA+", "RSA-PSS+"} {
			s.asked["signature"]++
			if _, ok := s.client("", "-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-sigalgs", alg+hash); ok {
				s.note("signature", alg+hash, ncscHash(hash))
			}
		}
	}
	certificate := regexp.MustCompile(`a:PKEY: (\S+), (\d+) \(bit\); sigalg: (\S+)`)
	for _, alg := range []string{"ECDSA+SHA256", "RSA-PSS+SHA256"} {
		says, _ := s.client("", "-sigalgs", alg)
		m := certificate.FindStringSubmatch(says)
		if m == nil {
			s.t.Errorf("no certificate for %s:\n%s", alg, says)
			continue
		}
		s.asked["certificate"]++
		s.note("certificate hash", m[3], ncscHash(m[3][strings.LastIndex(m[3], "SHA"):]))
		s.note("certificate key", m[1]+" "+m[2], ncscKey(m[1], m[2]))
	}
}

func (s *scan) connection() {
	says, ok := s.client("Q\n", "-tls1_2")
	s.asked["connection"]++
	if !ok {
		if _, ok = s.client("Q\n"); !ok {
			s.t.Fatal("openssl cannot connect at all")
		}
		return // TLS 1.3 has neither renegotiation nor compression, and always binds the handshake
	}
	secure, ems := insufficient, insufficient
	if strings.Contains(says, "Secure Renegotiation IS supported") {
		secure = good
	}
	if strings.Contains(says, "Extended master secret: yes") {
		ems = good
	}
	s.note("renegotiation", "as in RFC 5746", secure)
	s.note("extended master secret", "RFC 7627", ems)
	if method := s.compression(); method == 0 {
		s.note("compression", "none", good)
	} else {
		s.note("compression", fmt.Sprint(method), insufficient)
	}
	// "R" at the start of a line asks for a renegotiation.
	says, _ = s.client("R\n", "-tls1_2")
	if !strings.Contains(says, "RENEGOTIATING") {
		s.t.Fatalf("openssl did not try to renegotiate:\n%s", says)
	}
	if !strings.Contains(says, "no renegotiation") && !strings.Contains(says, "alert unexpected message") && !strings.Contains(says, "alert number 10") && !strings.Contains(says, "alert number 100") {
		s.note("renegotiation", "by the client", phaseOut)
	}
}

// compression offers DEFLATE before none, which no library of today does, and
// returns what the server picks (RFC 3749).
func (s *scan) compression() byte {
	s.t.Helper()
	vector := func(width int, parts ...string) string {
		body := strings.Join(parts, "")
		n := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
		return string(n[4-width:]) + body
	}
	extension := func(kind, body string) string { return kind + vector(2, body) }
	hello := "\x03\x03" + strings.Repeat("r", 32) + "\x00" + vector(2, "\xc0\x2b\xc0\x2f") + vector(1, "\x01\x00") + vector(2,
		extension("\x00\x00", vector(2, "\x00"+vector(2, "localhost"))),
		extension("\x00\x0a", vector(2, "\x00\x1d\x00\x17")),
		extension("\x00\x0b", vector(1, "\x00")),
		extension("\x00\x0d", vector(2, "\x04\x03\x08\x04")),
		extension("\xff\x01", "\x00"))
	conn, err := net.Dial("tcp", "127.0.0.1:"+s.server.port)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "\x16\x03\x01"+vector(2, "\x01"+vector(3, hello))); err != nil {
		s.t.Fatal(err)
	}
	answer := make([]byte, 5+4+2+32+1)
	if _, err := io.ReadFull(conn, answer); err != nil || answer[0] != 22 || answer[5] != 2 {
		s.t.Fatalf("no ServerHello: %v, % x", err, answer)
	}
	rest := make([]byte, int(answer[len(answer)-1])+2+1) // session id, suite, compression method
	if _, err := io.ReadFull(conn, rest); err != nil {
		s.t.Fatal(err)
	}
	return rest[len(rest)-1]
}

func (s *scan) earlyData() {
	says, ok := s.client("Q\n", "-tls1_3")
	s.asked["early data"]++
	if m := regexp.MustCompile(`Max Early Data: (\d+)`).FindStringSubmatch(says); ok && m != nil && m[1] != "0" {
		s.note("early data", m[1], insufficient)
	}
}

func classify(t *testing.T, server scanned) *scan {
	t.Helper()
	s := &scan{t: t, server: server, openssl: testenv.Program(t, "apt-get install openssl", "openssl"), asked: map[string]int{}}
	s.versions()
	s.suites()
	s.groups()
	s.signatures()
	s.connection()
	s.earlyData()
	for aspect, least := range map[string]int{"version": 6, "suite": 60, "group": 45, "signature": 15, "certificate": 2, "connection": 1, "early data": 1} {
		if s.asked[aspect] < least {
			t.Errorf("%s: only %d were asked for", aspect, s.asked[aspect])
		}
	}
	return s
}

func (s *scan) at(levels ...string) []string {
	var out []string
	for _, a := range s.agreed {
		for _, l := range levels {
			if strings.HasSuffix(a, "("+l+")") {
				out = append(out, a)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestNCSCFindsNothingToPhaseOut(t *testing.T) {
	t.Attr("control", "BIO2 8.24.04")
	t.Attr("control", "NCSC-TLS 3.3.1")
	t.Attr("control", "NCSC-TLS 3.3.2")
	t.Attr("control", "NCSC-TLS 3.3.3")
	t.Attr("control", "NCSC-TLS 3.3.5")
	t.Attr("control", "NCSC-TLS 3.4.2")
	for _, profile := range []tlsconfig.Profile{tlsconfig.Intermediate, tlsconfig.Modern, tlsconfig.NCSC} {
		t.Run(profile.String(), func(t *testing.T) {
			t.Parallel()
			s := classify(t, startScanned(t, profile))
			if bad := s.at(phaseOut, insufficient); len(bad) > 0 {
				t.Errorf("%q", bad)
			}
			// What a profile promises was there to be found.
			want := []string{"version: TLS 1.3 (good)", "group: X25519MLKEM768 (good)", "group: SecP256r1MLKEM768 (good)", "group: SecP384r1MLKEM1024 (good)", "group: X25519 (sufficient)", "suite: TLS_AES_256_GCM_SHA384 (good)", "certificate key: rsaEncryption 3072 (sufficient)", "certificate key: id-ecPublicKey 256 (sufficient)"}
			if profile == tlsconfig.Intermediate {
				want = append(want, "version: TLS 1.2 (sufficient)", "suite: ECDHE-ECDSA-AES128-GCM-SHA256 (sufficient)", "suite: ECDHE-RSA-CHACHA20-POLY1305 (sufficient)",
					"signature: ECDSA+SHA256 (good)", "signature: RSA-PSS+SHA256 (good)", "renegotiation: as in RFC 5746 (good)", "extended master secret: RFC 7627 (good)", "compression: none (good)")
			}
			all := s.at(good, sufficient)
			for _, w := range want {
				if !slices.Contains(all, w) {
					t.Errorf("not found: %s in %q", w, all)
				}
			}
		})
	}
	t.Run("and something in Go's defaults", func(t *testing.T) {
		t.Parallel()
		if bad := classify(t, startScanned(t, goDefaults)).at(insufficient); !slices.Contains(bad, "suite: TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA (insufficient)") || !slices.Contains(bad, "suite: ECDHE-RSA-AES256-SHA (insufficient)") {
			t.Errorf("%q: the scan judges nothing", bad)
		}
	})
}

// NCSCStrict has hybrid groups only: OpenSSL 3.0 cannot even connect.
func TestNCSCStrictIsGoodOnly(t *testing.T) {
	s := &scan{t: t, server: startScanned(t, tlsconfig.NCSCStrict), openssl: testenv.Program(t, "apt-get install openssl", "openssl"), asked: map[string]int{}}
	s.versions()
	s.groups()
	if got, want := s.at(good, sufficient, phaseOut, insufficient), []string{"group: SecP256r1MLKEM768 (good)", "group: SecP384r1MLKEM1024 (good)", "group: X25519MLKEM768 (good)", "version: TLS 1.3 (good)"}; !slices.Equal(got, want) {
		t.Errorf("agreed to %q, want %q", got, want)
	}
}

func TestTheNCSCTableOfTheScan(t *testing.T) {
	for name, want := range map[string]string{
		"TLS_AES_256_GCM_SHA384": good, "TLS_CHACHA20_POLY1305_SHA256": good, "TLS_AES_128_GCM_SHA256": sufficient, "TLS_AES_128_CCM_SHA256": sufficient, "TLS_AES_128_CCM_8_SHA256": insufficient,
		"ECDHE-ECDSA-AES128-GCM-SHA256": sufficient, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": sufficient, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": sufficient, "ECDHE-RSA-CHACHA20-POLY1305": sufficient,
		"ECDHE-ECDSA-AES256-CCM": sufficient, "ECDHE-ECDSA-AES256-CCM8": insufficient, "DHE-RSA-AES128-GCM-SHA256": phaseOut, "DHE-RSA-AES128-SHA": insufficient,
		"ECDHE-RSA-AES128-SHA256": phaseOut, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": phaseOut, "ECDHE-RSA-CAMELLIA128-SHA256": phaseOut, "ECDHE-ARIA256-GCM-SHA384": insufficient, "ECDHE-RSA-ARIA256-GCM-SHA384": phaseOut,
		"ECDHE-RSA-AES128-SHA": insufficient, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": insufficient, "AES128-GCM-SHA256": insufficient, "TLS_RSA_WITH_AES_128_GCM_SHA256": insufficient, "ADH-AES128-SHA256": insufficient, "NULL-SHA256": insufficient, "ECDHE-RSA-NULL-SHA": insufficient,
	} {
		if got := ncscSuite(name); got != want {
			t.Errorf("%s is called %s, want %s", name, got, want)
		}
	}
}
