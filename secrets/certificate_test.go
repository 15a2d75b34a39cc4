package secrets_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/inovy/hardening/secrets"
)

func jwt(claims string) string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return part(`{"alg":"HS256","typ":"JWT"}`) + "." + part(claims) + ".q7Wz9fKx3Lm8Tn2Qw5Rz7Yb4Zx8Cv5Bn2Mq9Wd4Eh7Jy"
}

func certificate(t *testing.T, from, to time.Time) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	return certificateFor(t, key, from, to)
}

func certificateFor(t *testing.T, key ed25519.PrivateKey, from, to time.Time) string {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: from, NotAfter: to},
		&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}}, key.Public(), key)
	check(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// A certificate that is issued anew for the old private key renews nothing that
// whoever copied the key would lose.
func TestANewCertificateForTheOldKeyIsNoRotation(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	now := time.Now()
	old := certificateFor(t, key, now.Add(-200*day), now.Add(100*day))
	again := certificateFor(t, key, now.Add(-2*day), now.Add(365*day))
	other := certificate(t, now.Add(-2*day), now.Add(365*day))
	age := func(l *secrets.Loader) int { return int(l.Report()[0].Age / day) }

	t.Run("at a reload", func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, "TLS", old)
		l, err := secrets.Load(t.Context(), &struct {
			C *secrets.Live `secret:"TLS,kind=pem"`
		}{}, from(secrets.Dir(dir)))
		check(t, err)
		defer l.Close()
		for _, tc := range []struct {
			text string
			want int
		}{{old, 200}, {again, 200}, {other, 2}} {
			write(t, dir, "TLS", tc.text)
			check(t, l.Reload(t.Context()))
			if got := age(l); got != tc.want {
				t.Errorf("%d days old, want %d: %+v", got, tc.want, l.Report()[0])
			}
		}
	})
	t.Run("across restarts, by the ledger", func(t *testing.T) {
		dir := t.TempDir()
		opts := from(secrets.Dir(dir))
		opts.Ledger = secrets.FileLedger(filepath.Join(t.TempDir(), "ledger"))
		for _, tc := range []struct {
			text string
			want int
		}{{old, 200}, {again, 200}, {other, 2}} {
			write(t, dir, "TLS", tc.text)
			l, err := secrets.Load(t.Context(), &struct {
				C secrets.Secret `secret:"TLS,kind=pem"`
			}{}, opts)
			check(t, err)
			if got := age(l); got != tc.want {
				t.Errorf("%d days old, want %d: %+v", got, tc.want, l.Report()[0])
			}
			check(t, l.Close())
		}
	})
}
