package secrets

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/filepoll"
)

// Names of what may stand beside a value and tell its dates.
const (
	createdSuffix = "_CREATED_AT"
	expiresSuffix = "_EXPIRES_AT"
	metaSuffix    = ".meta" // of a file
)

const fixDate = "write when the value was made, as 2026-11-01 or 2026-11-01T08:00:00Z"

// unset reports whether the environment says nothing about the dates of f.
func (f *field) unset() bool { return os.Getenv(f.created) == "" && os.Getenv(f.expires) == "" }

// besideVariable reads the companions of a variable of the environment.
func (f *field) besideVariable() (dates, *flaw) {
	created, expires := os.Getenv(f.created), os.Getenv(f.expires)
	if created == "" && expires == "" { // as for most
		return dates{}, nil
	}
	var d dates
	bad := d.stateBoth(f.name, []byte(created), []byte(expires))
	return d, bad
}

// besidePair reads the companions of an entry of a file that holds several.
func (f *field) besidePair(pairs []pair) (dates, *flaw) {
	var d dates
	bad := d.stateBoth(f.name, valueOf(pairs, f.created), valueOf(pairs, f.expires))
	return d, bad
}

// companions returns the paths of the files that may stand beside a file of one
// value: NAME.meta, NAME_CREATED_AT and NAME_EXPIRES_AT, in lower case if
// the file is.
func companions(path string) [3]string {
	out := [3]string{metaSuffix, createdSuffix, expiresSuffix}
	base := path[strings.LastIndexAny(path, `/\`)+1:]
	for i, suffix := range out {
		if strings.ToLower(base) == base {
			suffix = strings.ToLower(suffix)
		}
		out[i] = path + suffix
	}
	return out
}

// besideFile reads the companions of a file, which are what follows it in a
// snapshot. Whoever may write them says how old a secret is, so they are judged
// like the file itself.
func besideFile(name string, files []filepoll.File, environment hardening.Environment) (d dates, bad *flaw) {
	for i, suffix := range [3]string{metaSuffix, createdSuffix, expiresSuffix} {
		file := files[i]
		if errors.Is(file.Err, filepoll.ErrMissing) {
			if _, err := os.Lstat(file.Path); err != nil {
				continue
			}
		}
		if file.Err != nil {
			bad = fileFlaw(file.Err)
		} else {
			_, bad = judgeMode(file, false, true)
			if bad == nil {
				d.loose, bad = judgeOwner(file, environment, d.loose)
			}
		}
		switch {
		case bad != nil:
			return d, &flaw{reason: "the file of its dates, " + name + suffix + ", " + bad.reason, fix: bad.fix}
		case suffix == metaSuffix:
			bad = d.stateMeta(name+suffix, file.Data)
		default:
			bad = d.state(name+suffix, suffix == expiresSuffix, file.Data)
		}
		if bad != nil {
			return d, bad
		}
	}
	return d, nil
}

func (d *dates) stateBoth(name string, created, expires []byte) *flaw {
	if len(created) > 0 {
		if bad := d.state(name+createdSuffix, false, created); bad != nil {
			return bad
		}
	}
	if len(expires) > 0 {
		return d.state(name+expiresSuffix, true, expires)
	}
	return nil
}

// stateMeta reads a NAME.meta: {"created":"2026-11-01","expires":"2027-11-01"}.
func (d *dates) stateMeta(where string, text []byte) *flaw {
	var file struct{ Created, Expires string }
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if dec.Decode(&file) != nil || dec.More() {
		return &flaw{reason: where + " is not a JSON object with created and expires", fix: `write {"created":"2026-11-01"}`}
	}
	if file.Created != "" {
		if bad := d.state(where, false, []byte(file.Created)); bad != nil {
			return bad
		}
	}
	if file.Expires != "" {
		return d.state(where, true, []byte(file.Expires))
	}
	return nil
}

// state reads one date, which must be possible and contradict nothing.
func (d *dates) state(where string, end bool, text []byte) *flaw {
	t, skew, ok := parseDate(text)
	if !ok {
		return &flaw{reason: where + " holds something else than an RFC 3339 time or day", fix: fixDate}
	}
	to := &d.created
	switch {
	case end:
		to = &d.expires
	case t.After(time.Now().Add(skew)):
		return &flaw{reason: where + " lies in the future", fix: fixDate}
	default:
		d.basis = where
	}
	if !to.IsZero() && !to.Equal(t) {
		return &flaw{reason: where + " says something else than what stands beside it", fix: "keep one of them"}
	}
	*to = t
	return nil
}
