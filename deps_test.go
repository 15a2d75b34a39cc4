package hardening_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/inovy/hardening"

// mayLink is the promise to users: which third-party modules a package may
// bring into their binary, by name and with what those modules link themselves.
// A package that is not listed may link nothing.
var mayLink = map[string][]string{
	"headers/cors":         {"golang.org/x/net"},
	"ratelimit":            {"github.com/ulule/limiter/v3", "github.com/pkg/errors"},
	"ratelimit/storetest":  {"ratelimit"},
	"ratelimit/redislimit": {"ratelimit", "github.com/redis/go-redis/v9", "github.com/cespare/xxhash/v2", "go.uber.org/atomic", "golang.org/x/sys"},
	"session":              {"github.com/gorilla/securecookie"},
	"session/storetest":    {"session"},
	"session/redissession": {"session", "github.com/redis/go-redis/v9", "github.com/cespare/xxhash/v2", "go.uber.org/atomic", "golang.org/x/sys"},
	"internal/redisconf":   {"github.com/redis/go-redis/v9", "github.com/cespare/xxhash/v2", "go.uber.org/atomic", "golang.org/x/sys"},
	"session/password":     {"golang.org/x/crypto", "golang.org/x/sys"},
	"secrets":              {"github.com/go-playground/validator/v10", "github.com/go-playground/locales", "github.com/go-playground/universal-translator", "github.com/gabriel-vasile/mimetype", "github.com/leodido/go-urn", "golang.org/x/crypto", "golang.org/x/text", "golang.org/x/sys"},
	"secrets/agefile":      {"secrets", "filippo.io/age", "filippo.io/hpke"},
	"auditlog":             {"golang.org/x/mod", "github.com/samber/slog-multi", "github.com/samber/slog-common", "github.com/samber/lo", "golang.org/x/text"},
	"auditlog/redacttest":  {"auditlog"},
	"tlsconfig":            {"golang.org/x/crypto"},
}

// mayImportEverything are programs: nothing may import them in turn.
var mayImportEverything = []string{"examples/", "cmd/"}

type pkg struct {
	ImportPath string
	Standard   bool
	Dir        string
	Deps       []string
	Imports    []string
	Module     *struct {
		Path string
		Dir  string
		Main bool
	}
}

// packages lists every package of the module, and everything they link.
func packages(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Standard,Dir,Deps,Imports,Module", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m := map[string]pkg{}
	for dec := json.NewDecoder(out); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		m[p.ImportPath] = p
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return m
}

func local(importPath string) (string, bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func allowed(name string) []string {
	var all []string
	for _, m := range mayLink[name] {
		if mayLink[m] != nil {
			all = append(all, allowed(m)...)
		} else {
			all = append(all, m)
		}
	}
	return all
}

func program(name string) bool {
	return slices.ContainsFunc(mayImportEverything, func(p string) bool { return strings.HasPrefix(name, p) })
}

func TestPackagesLinkOnlyWhatTheyPromise(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-15.2.4")
	all := packages(t)
	checked := 0
	for path, p := range all {
		name, ours := local(path)
		if !ours || program(name) {
			continue
		}
		checked++
		may := allowed(name)
		for _, dep := range p.Deps {
			d := all[dep]
			if d.Standard || d.Module == nil || d.Module.Main {
				continue
			}
			if !slices.Contains(may, d.Module.Path) {
				t.Errorf("%s links %s (module %s), which deps_test.go does not allow it", name, dep, d.Module.Path)
			}
		}
	}
	for name := range mayLink {
		if _, ok := all[module+"/"+name]; !ok {
			t.Errorf("the list names %s, which is no package", name)
		}
	}
	if checked < 7 {
		t.Errorf("only %d packages were looked at", checked)
	}
}

func TestNoRoomImportsAnotherRoom(t *testing.T) {
	all := packages(t)
	for path, p := range all {
		name, ours := local(path)
		if !ours || program(name) {
			continue
		}
		for _, imp := range p.Imports {
			dep, ours := local(imp)
			if !ours || dep == "" || strings.HasPrefix(dep, "internal/") {
				continue
			}
			switch {
			case program(dep):
				t.Errorf("%s imports the program %s", path, dep)
			case strings.HasPrefix(name, "internal/"):
				t.Errorf("%s is shared by rooms and imports the room %s", name, dep)
			case name == "" || name == "baseline":
				t.Errorf("%q may import only the root package and internal ones, not %s", name, dep)
			case !strings.HasPrefix(name, dep+"/"):
				t.Errorf("room %s imports room %s; only a sub-room may import its parent", name, dep)
			}
		}
	}
}

// Licences that a hospital's lawyers do not need to read twice.
var permissive = map[string]*regexp.Regexp{
	"Apache-2.0": regexp.MustCompile(`Apache License\s+Version 2\.0`),
	"MIT":        regexp.MustCompile(`Permission is hereby granted, free of charge, to any person obtaining\s+a copy`),
	"BSD":        regexp.MustCompile(`Redistribution and use in source and binary forms, with or without\s+modification, are permitted`),
	"ISC":        regexp.MustCompile(`Permission to use, copy, modify, and/or distribute this software for any\s+purpose`),
}

func TestEveryLinkedModuleHasAPermissiveLicence(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-15.1.2")
	seen := map[string]bool{}
	for _, p := range packages(t) {
		if p.Standard || p.Module == nil || p.Module.Main || seen[p.Module.Path] {
			continue
		}
		seen[p.Module.Path] = true
		files, err := filepath.Glob(filepath.Join(p.Module.Dir, "LICEN[SC]E*"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s has no licence file", p.Module.Path)
			continue
		}
		text, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		found := ""
		for id, re := range permissive {
			if re.Match(text) {
				found = id
			}
		}
		if found == "" {
			t.Errorf("%s: the licence in %s is not one of the permissive ones", p.Module.Path, filepath.Base(files[0]))
		}
	}
	if len(seen) == 0 {
		t.Error("no linked module was found")
	}
}

// The root go.mod is what users inherit: no replace, no tool, no exclude.
func TestGoModStaysHonest(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		for _, word := range []string{"replace", "exclude", "tool", "toolchain"} {
			if strings.HasPrefix(line, word+" ") || strings.HasPrefix(line, word+"(") {
				t.Errorf("go.mod has %q", strings.TrimSpace(line))
			}
		}
	}
}
