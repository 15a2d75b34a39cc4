//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/inovy/hardening/internal/testenv"
)

// A pipe where a segment belongs must not be waited for.
func TestAuditVerifyDoesNotReadPipes(t *testing.T) {
	dir, key := aLog(t)
	file := segment(t, dir)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		testenv.Missing(t, "no pipe can be made here: "+err.Error())
	}
	if status, out, _ := call(t, "audit", "verify", "-dir", dir, "-key", key); status != 1 || !strings.Contains(out, "no regular file") {
		t.Errorf("status %d %s", status, out)
	}
}

// What the administrator writes into the service's log, the service can not read.
func TestAuditPruneRunsAsTheOwnerOnly(t *testing.T) {
	if os.Geteuid() != 0 {
		testenv.Missing(t, "only root can give a directory away")
	}
	dir, _ := aLog(t)
	if err := os.Chown(dir, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := call(t, "audit", "prune", "-dir", dir); status != 74 || !strings.Contains(errs, "12345") {
		t.Errorf("status %d %s", status, errs)
	}
}
