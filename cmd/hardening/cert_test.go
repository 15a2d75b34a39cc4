package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCertDevCARefusesEverywhereButInDevelopment(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want int
		says string
	}{
		{"no environment", nil, 64, "-env development"},
		{"an empty one", []string{"-env", ""}, 64, "-env development"},
		{"a made-up one", []string{"-env", "dev"}, 64, "is not an environment"},
		{"production", []string{"-env", "production"}, 1, "is not development"},
		{"staging", []string{"-env", "staging"}, 1, "is not development"},
	} {
		dir := filepath.Join(t.TempDir(), "ca")
		status, stdout, stderr := call(t, append([]string{"cert", "devca", "-dir", dir}, tt.args...)...)
		if status != tt.want || stdout != "" || !strings.Contains(stderr, tt.says) {
			t.Errorf("%s: status %d, want %d\n%s%s", tt.name, status, tt.want, stdout, stderr)
		}
		if _, err := os.Lstat(dir); err == nil {
			t.Errorf("%s: something was written all the same", tt.name)
		}
	}
}

func TestCertDevCAIssuesWhatClientsAccept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	args := []string{"cert", "devca", "-env", "development", "-dir", dir, "-domain", "localhost", "-domain", "portal.internal", "-network", "127.0.0.0/8", "-host", "api.portal.internal", "-host", "127.0.0.1"}
	status, stdout, stderr := call(t, args...)
	if status != 0 || !strings.Contains(stdout, "curl --cacert "+filepath.Join(dir, "ca.crt")+" https://api.portal.internal/") {
		t.Fatalf("status %d\n%s%s", status, stdout, stderr)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, host := range []string{"api.portal.internal", "127.0.0.1"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for name, mode := range map[string]os.FileMode{"tls.key": 0o600, "ca.key": 0o600, "tls.crt": 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, mode)
		}
	}
	before, err := os.ReadFile(filepath.Join(dir, "tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := call(t, args...); status != 0 {
		t.Fatalf("the second time: %s", stderr)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "tls.crt")); err != nil || string(after) != string(before) {
		t.Errorf("a certificate that is still good was replaced: %v", err)
	}
}

func TestCertDevCANamesEveryReason(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	status, _, stderr := call(t, "cert", "devca", "-env", "development", "-dir", dir, "-host", "www.example.com", "-host", "8.8.8.8")
	if status != 1 || !strings.Contains(stderr, `"www.example.com"`) || !strings.Contains(stderr, `"8.8.8.8"`) {
		t.Errorf("status %d\n%s", status, stderr)
	}
	if status, _, stderr := call(t, "cert", "devca", "-env", "development", "-dir", dir, "-domain", "example.com"); status != 1 || !strings.Contains(stderr, "others may own") {
		t.Errorf("status %d\n%s", status, stderr)
	}
	foreign := filepath.Join(t.TempDir(), "tls.key")
	if err := os.WriteFile(foreign, []byte("a key that does not come back"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := call(t, "cert", "devca", "-env", "development", "-dir", dir, "-key", foreign); status != 1 || !strings.Contains(stderr, "not written by a development CA") {
		t.Errorf("status %d\n%s", status, stderr)
	}
	if b, err := os.ReadFile(foreign); err != nil || string(b) != "a key that does not come back" {
		t.Errorf("the key was replaced: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := call(t, "cert", "devca", "-env", "development", "-dir", filepath.Join(file, "ca")); status != 74 || stderr == "" {
		t.Errorf("a directory that cannot be made: status %d\n%s", status, stderr)
	}
	for _, args := range [][]string{{"-network", "10.0.0.1"}, {"-host", ""}, {"more"}} {
		if status, _, _ := call(t, append([]string{"cert", "devca", "-env", "development", "-dir", dir}, args...)...); status != 64 {
			t.Errorf("%q: status %d, want 64", args, status)
		}
	}
	if status, _, stderr := call(t, "cert", "devca", "-h"); status != 0 || !strings.Contains(stderr, "exit status") {
		t.Errorf("help: status %d\n%s", status, stderr)
	}
}
