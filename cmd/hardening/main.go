// Command hardening is what operators and auditors run beside a service.
//
//	hardening audit verify -dir DIR -key KEY
//	hardening audit prove -dir DIR -key KEY -seq N
//	hardening audit check-proof -proof FILE -key KEY
//	hardening audit prune -dir DIR
//	hardening cert devca -env development -dir DIR
//	hardening secrets generate
//	hardening secrets scan DIR
//	hardening secrets example DIR
//	hardening secrets check-example DIR
//
// Each command says with -h what it takes and with which status it exits.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// Exit statuses that all commands share. Further ones are a command's own.
const (
	exitOK    = 0
	exitUsage = 64 // EX_USAGE of sysexits.h, so that no finding is mistaken for a typing error
	exitIO    = 74 // EX_IOERR
)

// command is one thing the program can do.
type command struct {
	name    string // "audit verify"
	summary string
	run     func(ctx context.Context, args []string, stdout, stderr io.Writer) int
}

// commands in the order of the help text.
var commands = []command{
	{"audit verify", "check that an audit log is as it was written", auditVerify},
	{"audit prove", "prove that a record is in an audit log", auditProve},
	{"audit check-proof", "check such a proof, without the log", auditCheckProof},
	{"audit prune", "remove records that are older than the retention", auditPrune},
	{"cert devca", "make a certificate for local development", certDevCA},
	{"secrets generate", "print a random key", secretsGenerate},
	{"secrets scan", "look for committed secrets", secretsScan},
	{"secrets example", "print a .env.example for a struct", secretsExample},
	{"secrets check-example", "compare a .env.example with a struct", secretsCheckExample},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends what does not listen
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run finds the command that args begin with and runs it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	for _, c := range commands {
		words := strings.Fields(c.name)
		if len(args) >= len(words) && strings.Join(args[:len(words)], " ") == c.name {
			return c.run(ctx, args[len(words):], stdout, stderr)
		}
	}
	out, status := stderr, exitUsage
	if asksHelp(args) {
		out, status = stdout, exitOK
	} else if len(args) > 0 {
		fmt.Fprintf(stderr, "hardening: there is no command %q\n\n", strings.Join(args[:min(len(args), 2)], " "))
	}
	fmt.Fprintln(out, "usage: hardening COMMAND [flags]\n\ncommands:")
	for _, c := range commands {
		fmt.Fprintf(out, "  %-21s %s\n", c.name, c.summary)
	}
	fmt.Fprintln(out, "\nhardening COMMAND -h tells the flags and exit statuses of one.")
	return status
}

// asksHelp reports whether args are a wish for the list of commands: "help", or
// the first word of some and "help", in any of its spellings.
func asksHelp(args []string) bool {
	if len(args) == 0 || !slices.Contains([]string{"help", "-h", "--help"}, args[len(args)-1]) {
		return false
	}
	return len(args) == 1 || len(args) == 2 && slices.ContainsFunc(commands, func(c command) bool { return strings.HasPrefix(c.name, args[0]+" ") })
}

// parse reads the flags of a command that takes no further arguments. status
// is where to stop if ok is false.
func parse(flags *flag.FlagSet, args []string, usage string, stderr io.Writer) (status int, ok bool) {
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, usage)
		flags.PrintDefaults()
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK, false
	case err != nil:
		return exitUsage, false
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "hardening: unexpected argument %q\n", flags.Arg(0))
		return exitUsage, false
	}
	return exitOK, true
}
