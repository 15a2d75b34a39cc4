//go:build !unix || solaris || illumos || aix

package secrets_test

import "errors"

func mkfifo(string) error { return errors.ErrUnsupported }
