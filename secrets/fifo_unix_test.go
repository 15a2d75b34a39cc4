//go:build unix && !solaris && !illumos && !aix

package secrets_test

import "syscall"

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }
