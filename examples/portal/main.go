// Command portal is a patient portal over HTTPS with all six rooms in front of
// it. It needs nothing but Go:
//
//	go run ./examples/portal           serve, and print address, users and how to verify the log
//	go run ./examples/portal -smoke    serve, drive it with a real HTTPS client, print what was seen
//
// Everything it makes (a development CA and certificate, secrets, records and
// the audit log) lies in the directory that -state names, and is used again at
// the next start. The people in it are invented.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "portal:", err)
		os.Exit(1)
	}
}

// run is the command without its process: it returns when ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	opt := options{env: hardening.Development, log: stderr}
	flags := flag.NewFlagSet("portal", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8443", "address to serve on; -smoke takes a free port unless it is given")
	smokeTest := flags.Bool("smoke", false, "serve, walk through the portal with an HTTPS client, print what was seen and exit 0 or 1")
	flags.StringVar(&opt.state, "state", "state/portal", "directory that keeps CA, secrets, records and audit log between runs")
	flags.Func("profile", "TLS profile: intermediate (1.2 and 1.3) or modern (1.3) (default intermediate)", func(name string) error {
		for _, p := range []tlsconfig.Profile{tlsconfig.Intermediate, tlsconfig.Modern} {
			if strings.EqualFold(p.String(), name) {
				opt.profile = p
				return nil
			}
		}
		return errors.New("use intermediate or modern")
	})
	flags.TextVar(&opt.env, "env", opt.env, "where this runs; only development, because the portal makes its own CA")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *smokeTest && !given(flags, "addr") {
		*addr = "127.0.0.1:0"
	}

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // serve closes it too; this is for the faults before
	p, err := open(ctx, opt)
	if err != nil {
		return explain(err)
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	before := slog.Default()
	slog.SetDefault(slog.New(p.trail.Handler())) // what logs without a logger of its own is redacted too
	defer slog.SetDefault(before)
	if *smokeTest {
		return smoke(ctx, p, listener, stdout)
	}
	p.greet(stdout, listener.Addr())
	return p.serve(ctx, listener)
}

func given(flags *flag.FlagSet, name string) (found bool) {
	flags.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// explain lists the faults of a configuration one a line.
func explain(err error) error {
	var list []error
	for fault := range hardening.Faults(err) {
		list = append(list, fault)
	}
	if len(list) > 1 {
		return fmt.Errorf("cannot start, %d faults:\n%w", len(list), errors.Join(list...))
	}
	return err
}

// greet tells the person at the terminal how to get in and how to check the log.
func (p *portal) greet(w io.Writer, addr net.Addr) {
	fmt.Fprintf(w, "Patient portal\n  open       https://%s/\n  state      %s\n  audit log  %s\n  trust      %s  (the development CA of this state; or accept the browser's warning)\n\n",
		addr, p.opt.state, p.auditDir(), p.ca.CertFile())
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "  user\tpassword\trole\tname\tsees")
	for _, u := range demoUsers {
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\n", u.ID, p.keys.passwordOf(u.ID), u.Role, u.Name, u.sees())
	}
	_ = tw.Flush() // to the terminal; nobody is left to tell
	fmt.Fprintf(w, "\nVerify the audit log, also while the portal runs:\n  %s\n\nStop with Ctrl-C.\n", p.verifyCommand())
}
