package secrets

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/inovy/hardening/internal/filepoll"
)

// Source is a place where [Load] looks for values. Make one with [Env] or
// [Dir]; the zero Source is a fault.
type Source struct {
	_    [0]func()
	impl source
}

// source answers for one Load. Values of files are not read by the source but
// all together, so that files of one mount always fit each other.
type source interface {
	// label is how faults and reports call the source.
	label() string
	// refs appends to out where the values of the fields may stand, in the order
	// of the fields, and returns faults of the source itself.
	refs(ctx context.Context, fields []*field, out []ref) ([]ref, []flaw)
}

// ref is one place at which a value was found.
type ref struct {
	field *field
	label string // where: "the environment", "/run/secrets/x"
	value []byte // if path is ""
	path  string // file to read
	flaw  *flaw  // found, but not usable

	env     bool // stands in the environment of the process
	written time.Time
	open    string // "" or who else may read the file
}

// Env is the environment of the process: NAME itself, or the file that
// NAME_FILE names, as container images do it. Both set is a fault. Empty is
// not set. Faults do not show what NAME_FILE holds: it may be a secret that
// someone put into the wrong variable.
func Env() Source { return Source{impl: envSource{}} }

type envSource struct{}

func (envSource) label() string { return "the environment" }

func (envSource) refs(_ context.Context, fields []*field, out []ref) ([]ref, []flaw) {
	for _, f := range fields {
		value, file := os.Getenv(f.name), os.Getenv(f.file)
		switch {
		case value != "" && file != "":
			out = append(out, ref{field: f, label: "the environment", flaw: &flaw{
				reason: "both " + f.name + " and " + f.file + " are set", fix: "set one of them"}})
		case file != "":
			out = append(out, ref{field: f, label: "the file that " + f.file + " names", path: file})
		case value != "":
			out = append(out, ref{field: f, label: "the environment", value: []byte(value), env: true})
		}
	}
	return out, nil
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
func Dir(path string) Source { return Source{impl: dirSource{path}} }

type dirSource struct{ path string }

func (d dirSource) label() string { return "the directory " + d.path }

func (d dirSource) refs(_ context.Context, fields []*field, out []ref) ([]ref, []flaw) {
	if d.path == "" {
		return out, []flaw{{reason: "is a Dir without a path", fix: "name the directory, as in Dir(\"/run/secrets\")"}}
	}
	entries, err := os.ReadDir(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return out, nil
	case err != nil:
		return out, []flaw{{reason: "can not be listed: not a directory, or not open to this process", fix: "check the mount and its mode"}}
	}
	there := make([]string, len(entries)) // sorted, by ReadDir's promise
	for i, e := range entries {
		there[i] = e.Name()
	}
	for _, f := range fields {
		spellings := [2]string{f.name, f.lower}
		for _, file := range slices.Compact(spellings[:]) {
			if _, ok := slices.BinarySearch(there, file); ok {
				path := filepath.Join(d.path, file)
				out = append(out, ref{field: f, label: path, path: path})
			}
		}
	}
	return out, nil
}

// readFiles fills in the values of all refs that stand in files, as one
// consistent snapshot, and judges the files.
func readFiles(refs []ref, allowReadable bool) {
	var paths []string
	for _, r := range refs {
		if r.path != "" {
			paths = append(paths, r.path)
		}
	}
	if len(paths) == 0 {
		return
	}
	snapshot := filepoll.Read(paths, maxBytes)
	defer snapshot.Wipe()
	next := 0
	for i := range refs {
		r := &refs[i]
		if r.path == "" {
			continue
		}
		file := snapshot.Files[next]
		next++
		if file.Err != nil {
			r.flaw = fileFlaw(file.Err)
			continue
		}
		r.written = file.Info.ModTime()
		open, bad := judgeMode(file, r.field.target != toPublic, allowReadable)
		if bad != nil {
			r.flaw = bad
			continue
		}
		r.open = open
		r.value = append(make([]byte, 0, len(file.Data)), file.Data...)
	}
}

func fileFlaw(err error) *flaw {
	switch {
	case errors.Is(err, filepoll.ErrMissing):
		return &flaw{reason: "names a file that does not exist, or a link that points nowhere", fix: "check the mount and the path"}
	case errors.Is(err, filepoll.ErrNotRegular):
		return &flaw{reason: "is not a regular file", fix: "mount the secret as a plain file"}
	case errors.Is(err, filepoll.ErrTooLarge):
		return &flaw{reason: "is larger than 1 MiB", fix: "check what was put there"}
	case errors.Is(err, filepoll.ErrPermission):
		return &flaw{reason: "may not be read by this process", fix: "give the file to the user the service runs as, mode 0400"}
	case errors.Is(err, filepoll.ErrUnsettled):
		return &flaw{reason: "kept changing while it was read", fix: "start again when whatever writes it is done"}
	}
	return &flaw{reason: "could not be read", fix: "check the disk and the mount"}
}
