package secrets

import "github.com/inovy/hardening"

// checkRotation reports what is known about the ages of secrets, and how well.
func (l *Loader) checkRotation(status []Status, where func(func(Status) bool) []string, rotation []hardening.Control) []hardening.Finding {
	var endless, forgotten, ledger []string
	for _, s := range status {
		if s.MaxAge == 0 {
			endless = append(endless, s.Name+" ("+l.reasonOf(s.Field)+")")
		}
		if s.Confidence != Exact && l.opts.Ledger.path == "" {
			forgotten = append(forgotten, s.Name)
		}
	}
	if err := l.current().ledger; err != nil {
		ledger = append(ledger, err.Error())
	}
	return []hardening.Finding{
		l.finding("HDN-SECRETS-040", hardening.High, "No secret has expired",
			where(func(s Status) bool { return s.State == Expired }),
			"have its issuer make a new one", rotation),
		l.finding("HDN-SECRETS-041", hardening.High, "No date is newer than the value that it belongs to",
			where(func(s Status) bool { return s.restamped }),
			"rotate the secrets named: their dates were changed and their values were not", rotation),
		l.finding("HDN-SECRETS-042", hardening.Medium, "Every new value came with a new date",
			where(func(s Status) bool { return s.undated }),
			"write when the values were made, in the same change as the values", rotation),
		l.finding("HDN-SECRETS-043", hardening.Low, "Every secret has a maximum age",
			endless, "drop maxage=0 from the tags, or register the deviation", rotation),
		l.finding("HDN-SECRETS-044", hardening.Low, "What no date comes with is remembered by a ledger",
			forgotten, "set Options.Ledger to a FileLedger on a volume, or date the secrets", rotation),
		l.finding("HDN-SECRETS-045", hardening.Medium, "The ledger can be read and written",
			ledger, "see what is observed: mount a directory that this process may write, restore the file and its key from one backup, or remove the file to begin anew", rotation),
	}
}

func (l *Loader) reasonOf(path string) string {
	for _, f := range l.plan.fields {
		if f.path == path {
			return f.reason
		}
	}
	return ""
}
