package secrets

import (
	"fmt"
	"strings"
	"time"

	"github.com/inovy/hardening"
)

// Check reports what the loaded secrets prove and where rules were relaxed. It
// names secrets and never shows one. It does no I/O; ages are those of this
// moment, so that the same Loader may pass today and fail next month.
func (l *Loader) Check() []hardening.Finding {
	status := l.Report()
	where := func(match func(Status) bool) (names []string) {
		for _, s := range status {
			if match(s) {
				names = append(names, s.Name)
			}
		}
		return names
	}
	loaded := func(match func(item) bool) (names []string) {
		for _, it := range l.current().items {
			if match(it) {
				names = append(names, it.field.name)
			}
		}
		return names
	}
	rotation := []hardening.Control{
		{Framework: hardening.ASVS, ID: "v5.0.0-13.3.4", Relation: hardening.Evidences},
		{Framework: hardening.BIO, ID: "9.2.4", Relation: hardening.Supports},
		{Framework: hardening.ISO27002, ID: "5.17", Relation: hardening.Supports},
		{Framework: hardening.NIS2, ID: "i", Relation: hardening.Supports},
	}
	keys := []hardening.Control{
		{Framework: hardening.ASVS, ID: "v5.0.0-11.1.1", Relation: hardening.Supports},
		{Framework: hardening.BIO, ID: "10.1.2.1", Relation: hardening.Supports},
		{Framework: hardening.ISO27002, ID: "8.24", Relation: hardening.Supports},
		{Framework: hardening.NIS2, ID: "h", Relation: hardening.Supports},
	}
	storage := []hardening.Control{
		{Framework: hardening.ASVS, ID: "v5.0.0-13.3.1", Relation: hardening.Supports},
		{Framework: hardening.ASVS, ID: "v5.0.0-13.3.2", Relation: hardening.Supports},
		{Framework: hardening.ISO27002, ID: "8.12", Relation: hardening.Supports},
		{Framework: hardening.GDPR, ID: "32(1)(a)", Relation: hardening.Supports},
	}
	strength := []hardening.Control{
		{Framework: hardening.ASVS, ID: "v5.0.0-13.2.3", Relation: hardening.Implements},
		{Framework: hardening.BIO, ID: "9.2.4", Relation: hardening.Supports},
		{Framework: hardening.CRA, ID: "I.1.2(d)", Relation: hardening.Supports},
	}
	readable := loaded(func(it item) bool { return it.open != "" })
	if l.opts.DangerouslyAllowReadableFiles {
		readable = append(readable, "DangerouslyAllowReadableFiles is set")
	}
	return append([]hardening.Finding{
		l.finding("HDN-SECRETS-001", hardening.High, "No secret is older than its maximum age",
			where(func(s Status) bool { return s.tooOld() }),
			"rotate the secrets named", rotation),
		l.finding("HDN-SECRETS-002", hardening.Low, "The age of every secret is proven",
			append(where(func(s Status) bool { return s.Confidence != Exact }), l.distrusted()...),
			"date the keys of a ring, v1@2026-11-01:KEY, and set NAME_CREATED_AT beside others", rotation),
		l.finding("HDN-SECRETS-003", hardening.Medium, "No secret is due for rotation",
			where(func(s Status) bool { return s.State == Due }),
			"make a new version now, before the maximum age is reached", rotation),
		l.finding("HDN-SECRETS-004", hardening.Low, fmt.Sprintf("Every secret has a maximum age of at most %d days", int(defaultMaxAge/day)),
			where(func(s Status) bool { return s.MaxAge > defaultMaxAge }),
			"drop maxage= from the tags for the default of 90 days, or register the deviation", rotation),
		l.finding("HDN-SECRETS-005", hardening.Low, fmt.Sprintf("A superseded key opens for at most %d days more", int(defaultGrace/day)),
			loaded(func(it item) bool { return it.ring != nil && it.field.grace > defaultGrace }),
			"drop grace= from the tags, or register the deviation", keys),
		l.finding("HDN-SECRETS-006", hardening.High, "No short or placeholder secret was let through",
			loaded(func(it item) bool { return it.relaxed != "" }),
			"put real values there, or run elsewhere than in Development", strength),
		l.finding("HDN-SECRETS-007", hardening.Medium, "No secret file may be read by everyone",
			readable,
			"chmod 0400 the files, or set defaultMode: 0400 for the volume", storage),
		l.finding("HDN-SECRETS-008", hardening.Low, "No secret comes from the environment of the process",
			loaded(func(it item) bool { return it.env }),
			"mount it as a file and use Dir, or set NAME_FILE", storage),
		l.activation(loaded(func(it item) bool { return it.ring != nil && it.field.activate < time.Minute }), keys),
		l.finding("HDN-SECRETS-020", hardening.High, "The last look at each source found values that keep every rule",
			l.failing(), "see the records secret_reload_fail, and put a good value there: the last one stays in use", rotation),
		l.finding("HDN-SECRETS-021", hardening.Medium, "No secret waits for a restart to be rotated",
			l.waiting(), "restart the service, and make the fields *secrets.Live, all those of a pair", rotation),
		l.finding("HDN-SECRETS-022", hardening.Medium, "Secrets are taken out of the environment once they are loaded",
			l.left(), "drop DangerouslyKeepEnvironment, or mount the secrets as files", storage),
		l.finding("HDN-SECRETS-023", hardening.Medium, "Every file of a Live or Ring field can be replaced while the service runs",
			l.fixed, "mount the directory instead of the file: subPath mounts never change", rotation),
		l.finding("HDN-SECRETS-024", hardening.Medium, "No secret comes from a dotenv file",
			loaded(l.fromDotEnv), "mount the secrets, outside the source tree", storage),
		l.finding("HDN-SECRETS-025", hardening.Medium, "No secret file can be replaced by another user",
			loaded(func(it item) bool { return it.loose }),
			"give file and directory to root or the service's user, writable by nobody else, or run elsewhere than in Development", storage),
	}, l.checkRotation(status, where, rotation)...)
}

// activation is the finding about new keys, which says what it rests on.
func (l *Loader) activation(short []string, keys []hardening.Control) hardening.Finding {
	f := l.finding("HDN-SECRETS-009", hardening.Medium, "A new key only opens before it is used, at least a minute long",
		short, "drop activate= from the tags, so that every node learns a key before one uses it", keys)
	switch {
	case len(l.distrusted()) > 0:
		f.Observed += "; a key that a restart brings is taken by its date, because the ledger can not be used"
	case l.opts.Ledger.path == "":
		f.Observed += "; a key that a restart brings is taken by its date, because there is no Options.Ledger"
	default:
		f.Observed += "; counted from when the ledger saw a key first"
	}
	return f
}

// distrusted says why no date counts as proven: the ledger that would find a
// changed one can not be used.
func (l *Loader) distrusted() []string {
	if err := l.current().ledger; err != nil {
		return []string{err.Error()}
	}
	return nil
}

// failing names the secrets, files and providers whose last look failed.
func (l *Loader) failing() (names []string) {
	for _, f := range l.current().failures {
		names = appendNew(names, f.fault.Field+" ("+f.group+")")
	}
	return names
}

// waiting names the Secret fields whose source has a new value, and the Live and
// Ring fields that rotated without them.
func (l *Loader) waiting() (names []string) {
	st := l.current()
	names = append(names, st.stale...)
	for i := range st.items {
		if behind := l.leftBehind(st, &st.items[i]); behind != nil {
			names = append(names, st.items[i].field.name+" (rotated beside "+strings.Join(behind, ", ")+")")
		}
	}
	return names
}

// left says what of the environment was left as it was.
func (l *Loader) left() (names []string) {
	if l.opts.DangerouslyKeepEnvironment {
		names = append(names, "DangerouslyKeepEnvironment is set")
	}
	if l.scrub.trace != "" {
		names = append(names, l.scrub.trace)
	}
	return names
}

func (l *Loader) fromDotEnv(it item) bool {
	_, is := l.opts.Sources[it.source].impl.(dotEnvSource)
	return is && it.file != nil
}

// finding passes if names is empty.
func (l *Loader) finding(id string, severity hardening.Severity, title string, names []string, remedy string, controls []hardening.Control) hardening.Finding {
	observed := fmt.Sprintf("all %d secrets", len(l.current().items))
	if len(names) > 0 {
		observed = "not so: " + strings.Join(names, ", ")
	}
	return hardening.Finding{
		ID: id, Component: l.opts.Name, Title: title, Passed: len(names) == 0, Severity: severity,
		Observed: observed, Expected: "all secrets", Remedy: remedy, Controls: controls,
	}
}
