// Package testenv hands tests the servers and programs that they need, or
// skips them and says how to get these. With HARDENING_TEST_REQUIRE=1, as in
// CI, a test that would be skipped fails.
package testenv

import (
	"os"
	"os/exec"
	"testing"
)

// Redis returns the host:port of a Redis server whose data may be thrown away.
func Redis(t testing.TB) string {
	t.Helper()
	return variable(t, "HARDENING_TEST_REDIS", `run "redis-server --port 6390 --save ''" and set HARDENING_TEST_REDIS=127.0.0.1:6390`)
}

// Postgres returns the URL of a PostgreSQL database whose data may be thrown
// away.
func Postgres(t testing.TB) string {
	t.Helper()
	return variable(t, "HARDENING_TEST_POSTGRES", "start a throw-away server and set HARDENING_TEST_POSTGRES=postgres://user@127.0.0.1:5432/db?sslmode=disable")
}

// Chromium returns the path of a Chromium browser.
func Chromium(t testing.TB) string {
	t.Helper()
	return variable(t, "HARDENING_TEST_CHROMIUM", "install chromium and set HARDENING_TEST_CHROMIUM=/usr/bin/chromium")
}

// Judges returns the directory in which the modules of
// integration/judges/package.json are installed.
func Judges(t testing.TB) string {
	t.Helper()
	return variable(t, "HARDENING_TEST_JUDGES", "copy integration/judges/package.json to a directory, run \"npm install --ignore-scripts\" there, and set HARDENING_TEST_JUDGES to it")
}

// Program returns the path of the first of the named programs that is
// installed. hint says how to install it.
func Program(t testing.TB, hint string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Missing(t, names[0]+" is not installed: "+hint)
	return ""
}

func variable(t testing.TB, name, hint string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		Missing(t, name+" is not set: "+hint)
	}
	return v
}

// Missing skips the test for want of something, or fails it where nothing may be
// skipped.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("HARDENING_TEST_REQUIRE") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}
