package secrets

import (
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// sources lists where Load looked, and where it could not: a source that is
// broken has a fault of its own, before those of the fields that it may hold.
func (l *load) sources() string {
	var labels []string
	for _, s := range l.opts.Sources {
		if s.impl != nil {
			labels = append(labels, s.impl.label())
		}
	}
	text := strings.Join(labels, " and ")
	if len(l.broken) > 0 {
		text += ", of which " + strings.Join(l.broken, " and ") + " could not be asked (see the fault of Options.Sources)"
	}
	return text
}

// allBroken reports whether no source at all could be asked.
func (l *load) allBroken() bool {
	for _, s := range l.opts.Sources {
		if s.impl != nil && !slices.Contains(l.broken, s.impl.label()) {
			return false
		}
	}
	return len(l.broken) > 0
}

// fixMissing tells where a value can be put, by the names that each source
// looks for, and how to make one if nobody issues it.
func (l *load) fixMissing(f *field) string {
	var places []string
	for _, s := range l.opts.Sources {
		switch s := s.impl.(type) {
		case envSource:
			places = append(places, "set "+f.name+", or "+f.file+" to the path of a file that holds it")
		case dirSource:
			places = append(places, "write it to "+filepath.Join(s.path, f.name))
		case systemdSource:
			if len(l.opts.Sources) == 1 { // with others it is not where people begin
				places = append(places, "add LoadCredential="+f.name+":PATH to the unit")
			}
		case dotEnvSource:
			places = append(places, "add "+f.name+"= to "+s.path)
		case encryptedSource:
			places = append(places, "add "+f.name+"= to "+s.path)
		case providerSource:
			places = append(places, "store "+f.name+" in "+s.name)
		}
	}
	fix := strings.Join(places, ", or ")
	if fix == "" {
		fix = "name a source that has it"
	}
	switch {
	case f.target == toRing:
		fix += "; hardening secrets generate, or openssl rand -base64 32, makes a key: write v1@" + time.Now().UTC().Format(time.DateOnly) + ":KEY"
	case f.kind == kindKey, f.kind == kindPassword:
		fix += "; hardening secrets generate, or openssl rand -base64 32, makes one"
	}
	return fix + "; an empty value counts as missing, and a Load takes what it found out of the environment"
}
