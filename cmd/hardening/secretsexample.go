package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/inovy/hardening/secrets"
)

const secretsExampleUsage = `usage: hardening secrets example [-type NAME] [DIR]

Prints a .env.example for the struct with secret tags in the Go package in DIR
(default: .). It reads the source and neither builds nor runs it, so structs of
other packages are not looked into: for those call secrets.Example in a test.

exit status: 0 printed, 64 wrong usage, 65 no such struct, or faults in its
             tags, 74 DIR cannot be read, or nothing be printed
`

const secretsCheckExampleUsage = `usage: hardening secrets check-example [-type NAME] [-file .env.example] [DIR]

Compares an example file with the struct with secret tags in the Go package in
DIR (default: .), as secrets.CheckExample does. Values are never shown.

exit status: 0 no drift, 1 drift, 64 wrong usage, 65 no such struct, or faults
             in its tags or in the file, 74 DIR or the file cannot be read, or
             nothing be printed
`

// exitData is EX_DATAERR of sysexits.h: what was read is not as it must be.
const exitData = 65

func secretsExample(_ context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("secrets example", flag.ContinueOnError)
	name := flags.String("type", "", "name of the struct, or of the variable of it; needed if there are several")
	dir, status, ok := parseDir(flags, args, secretsExampleUsage, stderr)
	if !ok {
		return status
	}
	dst, status := settingsOf(dir, *name, stderr)
	if dst == nil {
		return status
	}
	var text strings.Builder
	if err := secrets.Example(&text, dst); err != nil {
		fmt.Fprintln(stderr, "hardening:", err)
		return exitData
	}
	if _, err := io.WriteString(stdout, text.String()); err != nil {
		fmt.Fprintln(stderr, "hardening:", err)
		return exitIO
	}
	return exitOK
}

func secretsCheckExample(_ context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("secrets check-example", flag.ContinueOnError)
	name := flags.String("type", "", "name of the struct, or of the variable of it; needed if there are several")
	file := flags.String("file", "", "the example file (default: .env.example in DIR)")
	dir, status, ok := parseDir(flags, args, secretsCheckExampleUsage, stderr)
	if !ok {
		return status
	}
	dst, status := settingsOf(dir, *name, stderr)
	if dst == nil {
		return status
	}
	if *file == "" {
		*file = filepath.Join(dir, ".env.example")
	}
	f, err := os.Open(*file)
	if err != nil {
		fmt.Fprintln(stderr, "hardening:", err)
		return exitIO
	}
	defer func() { _ = f.Close() }() // read only
	drift, err := secrets.CheckExample(f, dst)
	if err != nil {
		fmt.Fprintln(stderr, "hardening:", err)
		return exitData
	}
	for _, d := range drift {
		if _, err := fmt.Fprintf(stdout, "%s: %s\n", printable(*file), d); err != nil {
			fmt.Fprintln(stderr, "hardening:", err)
			return exitIO
		}
	}
	if len(drift) > 0 {
		return exitFound
	}
	return exitOK
}

// settingsOf returns a nil pointer to a struct of the same fields and tags as
// one in the source of a package, or nil and the status to exit with.
func settingsOf(dir, name string, stderr io.Writer) (dst any, status int) {
	source, err := readSource(dir)
	if err != nil {
		fmt.Fprintln(stderr, "hardening:", err)
		return nil, exitIO
	}
	t, err := source.choose(name)
	for _, note := range source.notes {
		fmt.Fprintln(stderr, "hardening: note:", note)
	}
	if err != nil {
		fmt.Fprintln(stderr, "hardening:", err)
		return nil, exitData
	}
	return reflect.Zero(reflect.PointerTo(t)).Interface(), exitOK
}
