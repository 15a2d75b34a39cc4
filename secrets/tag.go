package secrets

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// field is what the tags of one struct field ask for.
type field struct {
	order int    // among the fields of a plan
	index []int  // for reflect.Value.FieldByIndex
	path  string // Go path: "DB.Password"
	ns    string // path as the validator spells it
	typ   reflect.Type
	name  string // to look up
	file  string // name of the variable that names a file
	lower string // name in lower case
	// variables that tell its dates
	created, expires string

	rule  string // validate tag
	quick *rule  // the same, if the validator need not be asked

	target   target
	kind     kind
	bits     int
	prefix   string
	minLen   int
	maxAge   time.Duration
	grace    time.Duration
	activate time.Duration
	reason   string // why there is no maxAge
	optional bool
	preset   *string // default=
}

// target is what a field holds.
type target uint8

const (
	toPublic target = iota
	toSecret
	toRing
	toLive
)

// namePattern allows what environments, Kubernetes and Docker allow, and no
// separator: a name can not leave its directory.
var namePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,127}$`)

// optionsOf lists what a field may say, by what it holds.
var optionsOf = map[target][]string{
	toPublic: {"public", "default", "optional"},
	toSecret: {"kind", "bits", "prefix", "minlen", "maxage", "reason", "optional"},
	toLive:   {"kind", "bits", "prefix", "minlen", "maxage", "reason", "optional"},
	toRing:   {"kind", "bits", "maxage", "reason", "grace", "activate"},
}

// parseTag reads the tag of a field whose target and type are set. complain is
// called for every fault. Tags are source code and hold no values, so faults
// may quote them.
func (f *field) parseTag(tag string, complain func(reason, fix string)) {
	name, rest, more := strings.Cut(tag, ",")
	f.name, f.file, f.lower = name, name+"_FILE", strings.ToLower(name)
	f.created, f.expires = name+createdSuffix, name+expiresSuffix
	switch {
	case !namePattern.MatchString(name):
		complain(fmt.Sprintf("has %q for a name in its secret tag", name), "begin the tag with a name of letters, digits, _ . and -")
	case strings.HasSuffix(strings.ToUpper(name), "_FILE"):
		complain(fmt.Sprintf("is named %q, which reads as the file of another secret", name), "choose a name that does not end in _FILE")
	}
	f.maxAge, f.grace, f.activate = defaultMaxAge, defaultGrace, defaultActivation
	if f.target == toRing {
		f.kind = kindKey
	}
	seen := map[string]bool{}
	for option := range strings.SplitSeq(rest, ",") {
		if !more {
			break
		}
		key, value, has := strings.Cut(option, "=")
		if seen[key] {
			complain(fmt.Sprintf("says %q twice in its secret tag", key), "say it once")
			continue
		}
		seen[key] = true
		if !slices.Contains(optionsOf[f.target], key) {
			complain(fmt.Sprintf("has the option %q in its secret tag, which is unknown for this type of field", key),
				"use "+strings.Join(optionsOf[f.target], ", "))
			continue
		}
		if bare := key == "public" || key == "optional"; bare == has {
			complain(fmt.Sprintf("has the option %q in its secret tag, which is not complete or says too much", option), "write public, optional, or name=value for the others")
			continue
		}
		f.parseOption(key, value, complain)
	}
	f.checkOptions(seen, complain)
}

func (f *field) parseOption(key, value string, complain func(reason, fix string)) {
	switch key {
	case "kind":
		k, ok := kindNames[value]
		if !ok || f.target == toRing && k != kindKey {
			complain(fmt.Sprintf("has kind=%s in its secret tag", value), "use key, token, password, url or pem; a Ring is always key")
			return
		}
		f.kind = k
	case "bits":
		n, err := strconv.Atoi(value)
		if err != nil || n < minKeyBits || n > maxKeyBits || n%8 != 0 {
			complain(fmt.Sprintf("has bits=%s in its secret tag", value), "use a multiple of 8 from 256 to 4096, or leave it out for 256")
			return
		}
		f.bits = n
	case "minlen":
		n, err := strconv.Atoi(value)
		if err != nil || n < 8 || n > maxBytes {
			complain(fmt.Sprintf("has minlen=%s in its secret tag", value), "use a number of bytes, at least 8")
			return
		}
		f.minLen = n
	case "prefix":
		if value == "" {
			complain("has an empty prefix= in its secret tag", "leave it out")
		}
		f.prefix = value
	case "maxage":
		if value == "0" {
			f.maxAge = 0
			return
		}
		f.maxAge = f.parseAge(key, value, complain)
	case "reason":
		f.reason = value
	case "grace":
		f.grace = f.parseAge(key, value, complain)
	case "activate":
		f.activate = f.parseAge(key, value, complain)
	case "optional":
		f.optional = true
	case "default":
		f.preset = &value
	}
}

func (f *field) parseAge(key, value string, complain func(reason, fix string)) time.Duration {
	d, ok := parseDuration(value)
	if !ok || d <= 0 {
		complain(fmt.Sprintf("has %s=%s in its secret tag", key, value), "use a positive time as 90d, 12h or 10m, or leave it out for the default")
		return defaultMaxAge
	}
	return d
}

// checkOptions finds options that do not go together, and fills in defaults.
func (f *field) checkOptions(seen map[string]bool, complain func(reason, fix string)) {
	allow := func(option string, kinds ...kind) {
		if seen[option] && f.kind != kindNone && !slices.Contains(kinds, f.kind) {
			complain(fmt.Sprintf("has the option %q in its secret tag, which does not fit its kind", option), "bits is for key; prefix and minlen are for token and password")
		}
	}
	switch {
	case f.target == toPublic && !seen["public"]:
		complain("is of type "+f.typ.String()+", which shows what it holds", "make it a secrets.Secret, or add public to its tag if it is no secret")
	case (f.target == toSecret || f.target == toLive) && !seen["kind"]:
		complain("does not say what kind of secret it is", "add kind=key, token, password, url or pem to its tag")
	case f.target == toPublic && seen["default"] && f.optional:
		complain("has both default and optional in its tag", "a setting with a default is never missing: drop optional")
	}
	switch {
	case f.target == toPublic:
	case f.maxAge == 0 && len(f.reason) < 10:
		complain("has maxage=0 without a reason in its secret tag", "add reason= and why it can not be rotated, without commas, or name the deviation that allows it")
	case f.maxAge != 0 && seen["reason"]:
		complain("has a reason without maxage=0 in its secret tag", "drop it: a maximum age needs none")
	}
	allow("bits", kindKey)
	allow("prefix", kindToken, kindPassword)
	allow("minlen", kindToken, kindPassword)
	if f.bits == 0 {
		f.bits = minKeyBits
	}
	if f.minLen == 0 {
		switch f.kind {
		case kindToken:
			f.minLen = 20 // 120 bits of base64
		case kindPassword:
			f.minLen = 15 // NIST SP 800-63B-4 section 3.1.1.2
		}
	}
}

// parseDuration is time.ParseDuration, which also knows whole days: 90d.
func parseDuration(s string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < -100_000 || n > 100_000 {
			return 0, false
		}
		return time.Duration(n) * day, true
	}
	d, err := time.ParseDuration(s)
	return d, err == nil
}
