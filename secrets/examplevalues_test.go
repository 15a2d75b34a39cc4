package secrets_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/secrets"
)

// A token that begins as its vendor's keys of one world do is refused in the
// other, and a public one everywhere.
func TestTokensBelongToTheirEnvironment(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.2.3")
	type plain struct {
		S secrets.Secret `secret:"S,kind=token"`
	}
	type live struct {
		S *secrets.Live `secret:"S,kind=password"`
	}
	type private struct {
		S secrets.Secret `secret:"S,kind=token,prefix=pk_"`
	}
	const rest = "9fKx3Lm8Tn2Qw5Rz7Yb4Zx8Cv5Bn2M"
	const dev, staging, prod = 1, 2, 4 // where it is accepted
	for _, tt := range []struct {
		prefix string
		dst    any
		where  int
	}{
		{"sk_live_", new(plain), staging | prod},
		{"rk_live_", new(live), staging | prod},
		{"live_", new(plain), staging | prod},
		{"access-production-", new(plain), staging | prod},
		{"sk_test_", new(plain), dev | staging},
		{"rzp_test_", new(live), dev | staging},
		{"test_", new(plain), dev | staging},
		{"access_token$sandbox$", new(plain), dev | staging},
		{"pk_live_", new(plain), 0},
		{"pk_test_", new(live), 0},
		{"pk_test_", new(private), 0},
		{"sb_publishable_", new(plain), 0},
		{"pk.eyJ", new(plain), 0},
		{"pk_", new(plain), 0},
		{"pk_", new(private), dev | staging | prod}, // as the tag says
		{"sk-", new(plain), dev | staging | prod},
		{"", new(plain), dev | staging | prod},
	} {
		for bit, env := range map[int]hardening.Environment{dev: hardening.Development, staging: hardening.Staging, prod: hardening.Production} {
			t.Setenv("S", tt.prefix+rest)
			opts := from(secrets.Env())
			opts.Environment = env
			l, err := secrets.Load(t.Context(), tt.dst, opts)
			if lines := faultsOf(t, err, rest); (len(lines) == 0) != (tt.where&bit != 0) || len(lines) > 1 {
				t.Errorf("%s in %v: %q", tt.prefix, env, lines)
			}
			if err == nil {
				check(t, l.Close())
			}
		}
	}
}

// Values that stand in documentation are strong by every measure but one. They
// are in two parts here, so that scanners do not find them.
func TestValuesFromDocumentationAreRefused(t *testing.T) {
	type token struct {
		S secrets.Secret `secret:"S,kind=token"`
	}
	type key struct {
		S secrets.Secret `secret:"S,kind=key"`
	}
	type ring struct {
		S *secrets.Ring `secret:"S"`
	}
	type url struct {
		S secrets.Secret `secret:"S,kind=url"`
	}
	for _, tt := range []struct {
		name, value string
		dst         any
		inDev       bool
	}{
		{"an access key id of AWS", "AKIAIOSF" + "ODNN7EXAMPLE", new(token), true},
		{"a secret of AWS", "wJalrXUtnFEMI/K7MDENG" + "/bPxRfiCYEXAMPLEKEY", new(token), true},
		{"as a password in a URL", "https://x:wJalrXUtnFEMI%2FK7MDENG" + "%2FbPxRfiCYEXAMPLEKEY@host/", new(url), true},
		{"a test key of Stripe", "sk_test_4eC39HqLyj" + "WDarjtT1zdp7dc", new(token), true},
		{"the token of jwt.io", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ." + "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c", new(token), true},
		{"the key of the storage emulator", "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsu" + "Fq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==", new(key), false},
		{"the same, spelled for URLs", "base64:Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsu" + "Fq2UVErCz4I6tq_K1SZFPTOtr_KBHBeksoGMGw", new(key), false},
		{"the key of Airflow's image", "46BKJoQYlPPOexq0OhDZnI" + "lNepKFf87WFwLbfzqDDho=", new(ring), false},
		{"the key of RFC 7515", "v1:AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-Est" + "JQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow", new(ring), false},
	} {
		for _, env := range []hardening.Environment{hardening.Production, hardening.Staging, hardening.Development} {
			t.Setenv("S", tt.value)
			opts := from(secrets.Env())
			opts.Environment = env
			_, err := secrets.Load(t.Context(), tt.dst, opts)
			if accepted := err == nil; accepted != (tt.inDev && env == hardening.Development) {
				t.Errorf("%s in %v: %v", tt.name, env, err)
			}
		}
	}
}

// Whatever Example writes as a value is refused outside Development, and what
// it leaves empty is missing.
func TestNoValueOfAnExampleFileIsLoadedOutsideDevelopment(t *testing.T) {
	type config struct {
		Token secrets.Secret `secret:"X_TOKEN,kind=token"`
		Long  secrets.Secret `secret:"X_LONG,kind=token,prefix=sk-,minlen=40"`
		Pass  *secrets.Live  `secret:"X_PASS,kind=password"`
		DB    secrets.Secret `secret:"DATABASE_URL,kind=url"`
		Redis secrets.Secret `secret:"REDIS_URL,kind=url"`
		Key   secrets.Secret `secret:"X_KEY,kind=key"`
		Ring  *secrets.Ring  `secret:"X_RING"`
		Cert  secrets.Secret `secret:"X_CERT,kind=pem"`
	}
	var file bytes.Buffer
	check(t, secrets.Example(&file, &config{}))
	for _, env := range []hardening.Environment{hardening.Production, hardening.Staging} {
		written := 0
		for line := range strings.Lines(file.String()) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
				value = strings.Trim(value, `"'`)
				t.Setenv(name, value)
				if value != "" {
					written++
				}
			}
		}
		opts := from(secrets.Env())
		opts.Environment = env
		_, err := secrets.Load(t.Context(), &config{}, opts)
		refused := map[string]bool{}
		for f := range hardening.Faults(err) {
			refused[f.Field] = true
		}
		if len(refused) != 8 || written < 5 {
			t.Errorf("%v: %d values written, refused %v", env, written, refused)
		}
	}
}

func TestDocumentationIsRecognisedInEverySpelling(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsu" + "Fq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==")
	check(t, err)
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if _, err := secrets.NewRing(secrets.RingConfig{Keys: secrets.NewSecret(enc.EncodeToString(raw))}); err == nil {
			t.Errorf("%s was accepted", fmt.Sprintf("%T", enc))
		}
	}
}
