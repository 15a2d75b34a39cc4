package secrets_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/secrets"
)

// VaultKV reads one secret of HashiCorp Vault's key-value engine, version 2:
// each name is a key of it. Each Fetch is a request of its own; that a user and
// its password have one version is Load's doing, which asks until two rounds agree.
// Copy it into your program; it needs nothing but net/http.
type VaultKV struct {
	Address string         // "https://vault.internal:8200"
	Path    string         // mount and path: "secret/data/care/app"
	Token   secrets.Secret // with read on Path and nothing else
	Client  *http.Client   // with TLS settings and a Timeout of its own
}

// Fetch asks GET /v1/<path>. No error holds the token, the address or a body.
func (v *VaultKV) Fetch(ctx context.Context, name string) (secrets.Secret, secrets.Meta, error) {
	none := func(reason, fix string) (secrets.Secret, secrets.Meta, error) {
		// A ConfigError is what Load shows; its words are ours alone.
		return secrets.Secret{}, secrets.Meta{}, &hardening.ConfigError{Room: "vault", Field: v.Path, Reason: reason, Fix: fix}
	}
	to, err := url.JoinPath(v.Address, "v1", v.Path)
	if err != nil {
		return none("has an address that is not a URL", "write it as https://host:8200")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return none("has an address that is not a URL", "write it as https://host:8200")
	}
	req.Header.Set("X-Vault-Token", secrets.Expose(v.Token))
	client := *v.Client // with its pool and TLS settings, but no redirects: they would take the token along
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil { // holds the URL
		return none("could not be reached", "check the address and its certificate")
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return secrets.Secret{}, secrets.Meta{}, secrets.ErrNotFound
	default:
		return none("answered "+strconv.Itoa(resp.StatusCode), "check the token and its policy")
	}
	const limit = 1 << 20
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	defer clear(body)
	if err != nil || len(body) > limit {
		return none("sent too much, or broke off", "check that the path is a KV version 2 secret")
	}
	var answer struct {
		Data struct {
			Data     map[string]secrets.Secret `json:"data"` // opaque from here on
			Metadata struct {
				Version int       `json:"version"`
				Created time.Time `json:"created_time"`
			} `json:"metadata"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil { // may quote the body
		return none("sent something that is no KV version 2 secret", "put /data/ between mount and path")
	}
	value, ok := answer.Data.Data[name]
	if !ok {
		return secrets.Secret{}, secrets.Meta{}, secrets.ErrNotFound
	}
	meta := answer.Data.Metadata
	return value, secrets.Meta{Version: strconv.Itoa(meta.Version), Created: meta.Created}, nil
}

// A vault is a Provider: HashiCorp's key-value engine in a page of net/http.
func ExampleProvider() {
	server := fakeVault("hvs.the-token", func() string {
		return `{"data":{"data":{"DB_USER":"care-app","DB_PASSWORD":"q7Wz9fKx3Lm8Tn2Vb"},"metadata":{"version":7,"created_time":"2000-01-02T03:04:05.123456789Z"}}}`
	})
	defer server.Close()

	var cfg struct {
		User     *secrets.Live `secret:"DB_USER,kind=token,minlen=8"`
		Password *secrets.Live `secret:"DB_PASSWORD,kind=password,maxage=30d"`
	}
	vault := &VaultKV{
		Address: server.URL, Path: "secret/data/care/app",
		Token:  secrets.NewSecret("hvs.the-token"), // better: a Secret field of an earlier Load
		Client: &http.Client{Timeout: 5 * time.Second},
	}
	loader, err := secrets.Load(context.Background(), &cfg, secrets.Options{
		Sources: []secrets.Source{secrets.From("vault secret/data/care/app", vault)},
		Logger:  quiet,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer loader.Close()
	for _, s := range loader.Report() {
		fmt.Println(s.Name, s.Source, s.Created.Format(time.DateOnly), s.Confidence, s.State)
	}
	// Output:
	// DB_USER vault secret/data/care/app 2000-01-02 exact overdue
	// DB_PASSWORD vault secret/data/care/app 2000-01-02 exact overdue
}

func fakeVault(token string, body func() string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("X-Vault-Token") != token:
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
		case r.Method != http.MethodGet || r.URL.Path != "/v1/secret/data/care/app":
			http.Error(w, `{"errors":[]}`, http.StatusNotFound)
		default:
			_, _ = io.WriteString(w, body())
		}
	}))
}

func TestTheVaultExampleShowsNothingWhenItFails(t *testing.T) {
	body := `{"data":{"data":{"S":"` + goodToken + `"},"metadata":{"version":1}}}`
	server := fakeVault("hvs.right-token", func() string { return body })
	defer server.Close()
	type config struct {
		S secrets.Secret `secret:"S,kind=token"`
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, tt := range []struct {
		name, address, path, token, body, want string
	}{
		{"right", server.URL, "secret/data/care/app", "hvs.right-token", body, ""},
		{"another token", server.URL, "secret/data/care/app", "hvs.wrong-token", body, "answered 403"},
		{"another path", server.URL, "secret/data/care/none", "hvs.right-token", body, "is missing in vault"},
		{"no server", closed.URL, "secret/data/care/app", "hvs.right-token", body, "could not be reached"},
		{"no URL", "https://hvs.right-token:%zz@x", "secret/data/care/app", "hvs.right-token", body, "not a URL"},
		{"not JSON", server.URL, "secret/data/care/app", "hvs.right-token", goodToken, "no KV version 2 secret"},
		{"a number for a secret", server.URL, "secret/data/care/app", "hvs.right-token", `{"data":{"data":{"S":12345678901234567890}}}`, "no KV version 2 secret"},
		{"too much", server.URL, "secret/data/care/app", "hvs.right-token", strings.Repeat(goodToken, 1<<16), "too much"},
		{"a deleted version", server.URL, "secret/data/care/app", "hvs.right-token", `{"data":{"data":null,"metadata":{"deletion_time":"x"}}}`, "is missing in vault"},
		{"the marker", server.URL, "secret/data/care/app", "hvs.right-token", `{"data":{"data":{"S":"[REDACTED]"}}}`, "no KV version 2 secret"},
	} {
		body = tt.body
		vault := &VaultKV{Address: tt.address, Path: tt.path, Token: secrets.NewSecret(tt.token), Client: server.Client()}
		_, err := secrets.Load(t.Context(), new(config), from(secrets.From("vault", vault)))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		faultsOf(t, err, goodToken, "hvs.right", "hvs.wrong", "127.0.0.1")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := (&VaultKV{Address: server.URL, Path: "secret/data/care/app", Client: server.Client()}).Fetch(ctx, "S"); err == nil || errors.Is(err, secrets.ErrNotFound) {
		t.Errorf("a cancelled context: %v", err)
	}
}
