package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

const certDevCAUsage = `usage: hardening cert devca -env development -dir DIR [-host HOST]...

Makes a certificate authority for local development in DIR, or takes the one
that is there, and issues a certificate for the hosts. The authority can vouch
for private names and addresses only; keep DIR out of version control all the
same. Run it again whenever you like: what is still good is kept.

exit status: 0 ok, 1 refused, and every reason is told,
             64 wrong usage, 74 a file cannot be read or written
`

const exitRefused = 1

// hosts is a flag that may be given more than once.
type hosts []string

func (h *hosts) String() string { return fmt.Sprint([]string(*h)) }

func (h *hosts) Set(s string) error {
	if s == "" {
		return errors.New("is empty")
	}
	*h = append(*h, s)
	return nil
}

// networks is hosts for address ranges.
type networks []netip.Prefix

func (n *networks) String() string { return fmt.Sprint([]netip.Prefix(*n)) }

func (n *networks) Set(s string) error {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return errors.New("is not a network such as 192.168.1.0/24")
	}
	*n = append(*n, p)
	return nil
}

func certDevCA(_ context.Context, args []string, stdout, stderr io.Writer) int {
	var names, domains hosts
	var nets networks
	flags := flag.NewFlagSet("cert devca", flag.ContinueOnError)
	env := flags.String("env", "", "where this runs; it must be development, and it must be said")
	dir := flags.String("dir", "", "directory of the authority, such as .devca")
	cert := flags.String("cert", "", "file for the certificate (default DIR/tls.crt)")
	key := flags.String("key", "", "file for its private key (default DIR/tls.key)")
	flags.Var(&names, "host", "`name` or address that clients connect to; may be repeated (default localhost, 127.0.0.1, ::1)")
	flags.Var(&domains, "domain", "`domain` that the authority may vouch for, with all below it; may be repeated (default localhost, test)")
	flags.Var(&nets, "network", "`network` that the authority may vouch for; may be repeated (default loopback)")
	if status, ok := parse(flags, args, certDevCAUsage, stderr); !ok {
		return status
	}
	if *env == "" || *dir == "" {
		fmt.Fprint(stderr, "hardening: cert devca needs -env development and -dir\n\n", certDevCAUsage)
		return exitUsage
	}
	environment, err := hardening.ParseEnvironment(*env)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	if names == nil {
		names = hosts{"localhost", "127.0.0.1", "::1"}
	}
	if *cert == "" {
		*cert = filepath.Join(*dir, "tls.crt")
	}
	if *key == "" {
		*key = filepath.Join(*dir, "tls.key")
	}

	ca, err := tlsconfig.NewDevCA(*dir, tlsconfig.DevCAConfig{Environment: environment, Domains: domains, Networks: nets})
	if err != nil {
		return refused(stderr, err)
	}
	if err := ca.Issue(*cert, *key, names...); err != nil {
		return refused(stderr, err)
	}
	fmt.Fprintf(stdout, "certificate  %s\nprivate key  %s\nauthority    %s\n\ntrust the authority where you test, for example:\n  curl --cacert %s https://%s/\n", *cert, *key, ca.CertFile(), ca.CertFile(), urlHost(names[0]))
	return exitOK
}

// refused prints the faults, one a line, or the error of a file.
func refused(stderr io.Writer, err error) int {
	status := exitIO
	for f := range hardening.Faults(err) {
		fmt.Fprintln(stderr, f)
		status = exitRefused
	}
	if status == exitIO {
		fmt.Fprintln(stderr, "hardening:", err)
	}
	return status
}

// urlHost writes a host as URLs do.
func urlHost(host string) string {
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		return "[" + host + "]"
	}
	return host
}
