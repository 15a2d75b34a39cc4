package secrets

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/inovy/hardening"
)

// Source is a place where [Load] looks for values. Make one with [Systemd],
// [Dir], [Env], [DotEnv], [Encrypted] or [From]; the zero Source is a fault.
type Source struct {
	_    [0]func()
	impl source
}

// source answers for one Load. Values of files are not read by the source but
// all together, so that files of one mount always fit each other.
type source interface {
	// label is how faults and reports call the source.
	label() string
	// find adds to s where the values of its fields may stand.
	find(ctx context.Context, s *search)
}

// search is one look through all sources.
type search struct {
	environment hardening.Environment
	fields      []*field
	source      int   // index of the source that is asked
	refs        []ref // what was found
	variables   []string
	complain    func(source int, bad flaw) // of a source itself
}

func (s *search) add(r ref) {
	r.source = s.source
	s.refs = append(s.refs, r)
}

// ref is one place at which a value was found. There may be many, so it is small.
type ref struct {
	field  *field // nil: a file that holds values of several fields
	text   string // the value, if place is nil
	place  *place // nil: the environment
	source int
}

// place is where a value stands that is not in the environment.
type place struct {
	label string // "/run/secrets/x"
	value []byte // owned by the place until it is kept
	file  *fileRef
	meta  *Meta
	flaw  *flaw // found, but not usable
	kept  bool  // the value went into a Secret

	beside dates // what stands beside it
}

// label is how faults and reports call the place.
func (r *ref) label() string {
	if r.place != nil {
		return r.place.label
	}
	return "the environment"
}

// fileRef is a file, and what was learnt about it when it was read.
type fileRef struct {
	path    string
	group   string // files that change together
	maybe   bool   // it need not exist
	sealed  bool   // its content is encrypted, so who reads it learns nothing
	dated   bool   // files beside it may tell its dates
	named   bool   // by NAME_FILE: variables beside that may
	split   func(ctx context.Context, data []byte) ([]pair, *flaw)
	written time.Time
	open    string // "" or who else may read the file
	real    string // path behind all links
	loose   bool   // another user can replace it, which Development lets pass
}

// pair is one entry of a file that holds several.
type pair struct {
	name  string
	value []byte
}

// Env is the environment of the process: NAME itself, or the file that
// NAME_FILE names, as container images do it. Both set is a fault. Empty is
// not set. Faults do not show what NAME_FILE holds: it may be a secret that
// someone put into the wrong variable.
//
// Once everything is loaded the secrets are taken out of the environment, so
// that children do not inherit them and, on Linux, /proc/self/environ does not
// show them (see [Options.DangerouslyKeepEnvironment]); public settings and
// NAME_FILE stay. On Linux a name that stands twice in the environment the
// process was started with, once with this value and once with that, is a
// fault: which of them counts depends on who asks. So is it for NAME_FILE and the
// variables of its dates.
func Env() Source { return Source{impl: envSource{}} }

type envSource struct{}

func (envSource) label() string { return "the environment" }

func (envSource) find(_ context.Context, s *search) {
	doubled := doubledVariables()
	for _, f := range s.fields {
		value, file := os.Getenv(f.name), os.Getenv(f.file)
		switch {
		case len(doubled) > 0 && f.doubled(doubled) != "": // first: the one that counts may be the empty one
			s.add(ref{field: f, place: &place{label: "the environment", flaw: &flaw{
				reason: f.doubled(doubled) + " was set twice, with different values, when the process was started", fix: "set it once"}}})
		case value == "" && file == "":
		case value != "" && file != "":
			s.add(ref{field: f, place: &place{label: "the environment", flaw: &flaw{
				reason: "both " + f.name + " and " + f.file + " are set", fix: "set one of them"}}})
		case file != "":
			s.add(ref{field: f, place: &place{label: "the file that " + f.file + " names", file: &fileRef{path: absolute(file), group: absolute(filepath.Dir(file)), named: true}}})
		default:
			s.add(ref{field: f, text: value})
		}
	}
}

// doubled returns the first of f's variables that is one of names, or "".
func (f *field) doubled(names map[string]bool) string {
	for _, name := range [...]string{f.name, f.file, f.created, f.expires} {
		if names[name] {
			return name
		}
	}
	return ""
}

// Dir is a directory with one file per value, as Kubernetes and Docker mount
// secrets: the file NAME, or NAME in lower case. A directory that does not
// exist holds nothing.
//
// A file must be a regular one of at most 1 MiB, possibly behind links. A file
// with a secret may not be writable by group or others, nor readable by others
// (see [Options.DangerouslyAllowReadableFiles]); on tmpfs and ramfs, where
// Kubernetes puts secrets with mode 0644 for one pod alone, readable by others
// is a failing finding and no fault.
//
// On Unix the file, every link that leads to it, and the directories that it and
// those links stand in must belong to root or the user of this process, and nobody
// else may write to those directories, unless they are sticky: whoever can replace a
// file chooses the secret. That holds for the files of all sources and those of
// dates beside them, but not on tmpfs
// and ramfs, where an agent with a user of its own writes for one pod, nor in
// Development, where it is a failing finding.
//
// All files are read as one snapshot, so that the files of one Kubernetes mount
// come from one generation of it, and are looked at again every
// [Options.PollInterval].
func Dir(path string) Source { return Source{impl: dirSource{path}} }

type dirSource struct{ path string }

func (d dirSource) label() string { return "the directory " + d.path }

func (d dirSource) find(_ context.Context, s *search) {
	if d.path == "" {
		s.complain(s.source, flaw{reason: "is a Dir without a path", fix: "name the directory, as in Dir(\"/run/secrets\")"})
		return
	}
	info, err := os.Stat(d.path)
	if os.IsNotExist(err) {
		if link, err := os.Lstat(d.path); err == nil && link.Mode()&fs.ModeSymlink != 0 {
			s.complain(s.source, flaw{reason: "is a link to nothing", fix: "mount what it should lead to, or remove the link"})
		}
		return
	}
	if err != nil || !info.IsDir() {
		s.complain(s.source, flaw{reason: "can not be listed: not a directory, or not open to this process", fix: "check the mount and its mode"})
		return
	}
	group := absolute(d.path)
	for _, f := range s.fields {
		path := filepath.Join(d.path, f.name)
		s.add(ref{field: f, place: &place{label: path, file: &fileRef{path: filepath.Join(group, f.name), group: group, maybe: true, dated: f.target != toPublic}}})
		if f.lower != f.name {
			path = filepath.Join(d.path, f.lower)
			s.add(ref{field: f, place: &place{label: path, file: &fileRef{path: filepath.Join(group, f.lower), group: group, maybe: true, dated: f.target != toPublic}}})
		}
	}
}

// absolute is path as it reads now: a program that changes its working directory
// still means the same file.
func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return filepath.Clean(path)
}

// Systemd is the directory of the credentials that systemd passes to a service
// (LoadCredential=, SetCredential= and their encrypted forms), with one file
// per value as in [Dir]. It holds nothing where CREDENTIALS_DIRECTORY is not
// set. systemd does not change credentials while a service runs: restart it
// after a rotation.
func Systemd() Source { return Source{impl: systemdSource{}} }

type systemdSource struct{}

func (systemdSource) label() string { return "systemd's credentials" }

func (systemdSource) find(ctx context.Context, s *search) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return
	}
	if !filepath.IsAbs(dir) {
		s.complain(s.source, flaw{reason: "CREDENTIALS_DIRECTORY is not an absolute path", fix: "let systemd set it"})
		return
	}
	dirSource{dir}.find(ctx, s)
}

// DotEnv is a file of NAME=value lines for development: outside
// [hardening.Development] it is never read, and that it exists there is a
// fault. A file that does not exist holds nothing.
//
// A value is taken as it stands up to the end of the line, without white space
// around it: $, \ and quotes inside it mean nothing, and # begins a comment only
// after white space. In 'single quotes' everything stands for itself, in
// "double quotes" \n, \r, \t, \", \$ and \\ are known and nothing else may follow a
// backslash; both may span lines. "export " may precede a name. A name that
// stands twice is a fault. Faults tell the number of the line, and nothing of it.
func DotEnv(path string) Source { return Source{impl: dotEnvSource{path}} }

type dotEnvSource struct{ path string }

func (d dotEnvSource) label() string { return "the file " + d.path }

func (d dotEnvSource) find(_ context.Context, s *search) {
	if d.path == "" {
		s.complain(s.source, flaw{reason: "is a DotEnv without a path", fix: "name the file, as in DotEnv(\".env.local\")"})
		return
	}
	if s.environment != hardening.Development {
		if _, err := os.Lstat(d.path); err == nil {
			s.complain(s.source, flaw{reason: "exists outside Development", fix: "remove the file: a real environment has mounts, credentials or a provider"})
		}
		return
	}
	s.add(ref{place: &place{label: d.path, file: &fileRef{path: absolute(d.path), group: d.path, maybe: true, split: func(_ context.Context, data []byte) ([]pair, *flaw) {
		return parseDotEnv(data)
	}}}})
}

// Encrypted is a file that open turns into NAME=value lines as [DotEnv] reads
// them, in any environment. The file must exist. open may be called again
// whenever the file changes, and at each look while its content is refused, never
// twice at once, and what it returns is wiped after use. An error of open refuses the file; only a [*hardening.ConfigError]
// in it is shown, because any other may hold what was decrypted.
//
// variables are those in which the keys of open stand: they are taken out of the
// environment when Load succeeds. Package agefile opens age files.
func Encrypted(path string, open func(ctx context.Context, sealed []byte) ([]byte, error), variables ...string) Source {
	return Source{impl: encryptedSource{path, open, append([]string(nil), variables...)}}
}

type encryptedSource struct {
	path      string
	open      func(context.Context, []byte) ([]byte, error)
	variables []string
}

func (e encryptedSource) label() string { return "the encrypted file " + e.path }

func (e encryptedSource) find(_ context.Context, s *search) {
	if e.path == "" || e.open == nil {
		s.complain(s.source, flaw{reason: "is an Encrypted without a path or a function that opens it", fix: "give both"})
		return
	}
	s.variables = append(s.variables, e.variables...)
	s.add(ref{place: &place{label: e.path, file: &fileRef{path: absolute(e.path), group: e.path, sealed: true, split: e.split}}})
}

func (e encryptedSource) split(ctx context.Context, data []byte) ([]pair, *flaw) {
	var plain []byte
	err, panicked := run(func() (err error) { plain, err = e.open(ctx, data); return err })
	defer clear(plain)
	if bad := safeFlaw(err, panicked, "could not be decrypted", "check the identity and whether the file is whole"); bad != nil {
		return nil, bad
	}
	return parseDotEnv(plain)
}

// safeFlaw makes a flaw of an error that others made: of one that may hold a
// value nothing is shown.
func safeFlaw(err error, panicked bool, reason, fix string) *flaw {
	if err == nil && !panicked {
		return nil
	}
	bad := &flaw{reason: reason, fix: fix}
	_, _ = run(func() error { // methods of err may panic: a nil pointer in an error is a common mistake
		var more []string
		for fault := range hardening.Faults(err) {
			more = append(more, fault.Field+" "+fault.Reason)
			fix = fault.Fix
		}
		if more != nil {
			bad = &flaw{reason: reason + ": " + strings.Join(more, "; "), fix: fix}
		}
		return nil
	})
	return bad
}
