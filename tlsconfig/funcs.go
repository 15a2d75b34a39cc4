package tlsconfig

import (
	"context"
	"crypto/tls"
	"net"
	"reflect"
	"runtime"
	"strings"
)

// Functions cannot be compared, but the code they run has an address and a
// name. That tells ours from others without a register of configurations.

// sameFunc reports whether two functions run the same code, or are both nil.
func sameFunc[F any](a, b F) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}

// ownFunc reports whether fn, a non-nil function, is the method of this
// package whose name begins so, or a function literal within it.
func ownFunc(fn any, name string) bool {
	f := runtime.FuncForPC(reflect.ValueOf(fn).Pointer())
	return f != nil && strings.HasPrefix(f.Name(), "github.com/inovy/hardening/tlsconfig."+name)
}

// both runs two VerifyConnection hooks. That it is not inlined keeps the name of
// its code, by which bothOf knows it.
//
//go:noinline
func both(first, then func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		if err := first(cs); err != nil {
			return err
		}
		return then(cs)
	}
}

func bothOf(fn func(tls.ConnectionState) error) bool { return fn != nil && ownFunc(fn, "both.") }

// ofDialer reports whether dial is DialContext of a [Dialer].
func ofDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) bool {
	return dial != nil && ownFunc(dial, "(*Dialer).DialContext")
}
