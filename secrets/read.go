package secrets

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/inovy/hardening/internal/filepoll"
)

// read fills in the values of all refs that stand in files, as one consistent
// snapshot, and judges the files. It returns the snapshot, which the caller
// wipes.
func (s *search) read(ctx context.Context, opts *Options) filepoll.Snapshot {
	var paths []string
	for _, r := range s.refs {
		if r.place != nil && r.place.file != nil {
			paths = append(paths, r.place.file.paths()...)
		}
	}
	if len(paths) == 0 {
		return filepoll.Snapshot{}
	}
	snapshot := filepoll.Read(paths, maxBytes)
	var split []ref
	next := 0
	refs := s.refs[:0]
	for _, r := range s.refs {
		if r.place == nil || r.place.file == nil {
			refs = append(refs, r)
			continue
		}
		p, file := r.place, snapshot.Files[next]
		beside := snapshot.Files[next+1 : next+len(p.file.paths())]
		next += 1 + len(beside)
		if errors.Is(file.Err, filepoll.ErrMissing) && p.file.maybe {
			if _, err := os.Lstat(p.file.path); err != nil {
				continue
			}
		}
		p.flaw = p.file.judge(file, r.field, opts)
		switch {
		case p.flaw != nil && r.field == nil:
			s.complain(r.source, *p.flaw)
		case p.flaw != nil:
			refs = append(refs, r)
		case r.field != nil:
			p.value = append(make([]byte, 0, len(file.Data)), file.Data...)
			if p.file.dated {
				p.beside, p.flaw = besideFile(r.field.name, beside, opts.Environment)
			}
			refs = append(refs, r)
		default:
			pairs, bad := p.file.split(ctx, file.Data)
			if bad != nil {
				s.complain(r.source, *bad)
			}
			split = append(split, r.expand(s.fields, pairs)...)
		}
	}
	s.refs = append(refs, split...)
	return snapshot
}

// paths are those of the file and of what may stand beside it.
func (r *fileRef) paths() []string {
	if !r.dated {
		return []string{r.path}
	}
	c := companions(r.path)
	return append([]string{r.path}, c[:]...)
}

// judge returns the flaw of a file that was read, and notes what is known about
// it. f is nil for a file of many values.
func (r *fileRef) judge(file filepoll.File, f *field, opts *Options) (bad *flaw) {
	if file.Err != nil {
		return fileFlaw(file.Err)
	}
	r.written, r.real = file.Info.ModTime(), file.Real
	secret := !r.sealed && (f == nil || f.target != toPublic)
	r.open, bad = judgeMode(file, secret, opts.allowReadable())
	if bad == nil {
		r.loose, bad = judgeOwner(file, opts.Environment, false)
	}
	return bad
}

// expand returns a ref per field that the pairs have a value for, in the order of
// the fields, and wipes the other values.
func (r ref) expand(fields []*field, pairs []pair) []ref {
	var out []ref
	for _, f := range fields {
		i := slices.IndexFunc(pairs, func(p pair) bool { return p.name == f.name })
		if i < 0 {
			continue
		}
		one := &place{label: r.place.label, value: pairs[i].value, file: r.place.file}
		if f.target != toPublic {
			one.beside, one.flaw = f.besidePair(pairs)
		}
		out = append(out, ref{field: f, source: r.source, place: one})
	}
	for _, p := range pairs {
		if !slices.ContainsFunc(fields, func(f *field) bool { return f.name == p.name }) {
			clear(p.value)
		}
	}
	return out
}

// valueOf returns the value of a name, as a part of pairs, or nil.
func valueOf(pairs []pair, name string) []byte {
	for _, p := range pairs {
		if p.name == name {
			return p.value
		}
	}
	return nil
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
