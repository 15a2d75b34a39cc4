package auditlog

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/inovy/hardening"
)

// Check reports how the log is configured and whether it works.
func (l *Log) Check() []hardening.Finding {
	fs := []hardening.Finding{
		l.checkRetention(), l.checkKey(), l.redactor.checkPatterns(), l.redactor.checkKeys(), l.checkHealth(), l.checkSegments(), l.checkDebug(), l.checkTail(), l.checkMode(), l.checkAnchors(), l.checkReserve(),
		l.redactor.checkPseudonyms(), checkDefault(),
	}
	for i := range fs {
		fs[i].Component = l.cfg.Name
	}
	return fs
}

func bearing(fw hardening.Framework, id string, r hardening.Relation) hardening.Control {
	return hardening.Control{Framework: fw, ID: id, Relation: r}
}

func implements(fw hardening.Framework, id string) hardening.Control {
	return bearing(fw, id, hardening.Implements)
}

func supports(fw hardening.Framework, id string) hardening.Control {
	return bearing(fw, id, hardening.Supports)
}

func (l *Log) checkRetention() hardening.Finding {
	return hardening.Finding{
		ID: "HDN-AUDITLOG-001", Severity: hardening.Medium,
		Title:    "Records are kept for a year and a margin",
		Passed:   l.cfg.Retention >= defaultRetention,
		Observed: fmt.Sprintf("%d days", l.cfg.Retention/day),
		Expected: "at least 400 days; five years where NEN 7513 applies",
		Remedy:   "leave Retention zero, or set it longer",
		Controls: []hardening.Control{
			supports(hardening.BIO, "12.4.2.1"), supports(hardening.BIO2, "8.15.04"), supports(hardening.NEN7513, "8.5"), supports(hardening.NEN7510, "A.18.1.3"),
			supports(hardening.ASVS, "v5.0.0-14.2.7"), supports(hardening.NIS2IR, "3.2.5"), supports(hardening.GDPR, "5(1)(e)"),
		},
	}
}

func (l *Log) checkKey() hardening.Finding {
	inside := strings.HasPrefix(filepath.Clean(l.cfg.KeyFile)+string(filepath.Separator), filepath.Clean(l.cfg.Dir)+string(filepath.Separator))
	observed := "the key file is outside the directory of the log"
	if inside {
		observed = "the key file is inside the directory of the log"
	}
	return hardening.Finding{
		ID: "HDN-AUDITLOG-002", Severity: hardening.Low,
		Title:    "A copy of the log does not carry its signing key",
		Passed:   !inside,
		Observed: observed,
		Expected: "the key file in another directory",
		Remedy:   "set KeyFile to a path on storage that is not copied along with Dir",
		Controls: []hardening.Control{supports(hardening.BIO2, "8.15.03"), supports(hardening.ASVS, "v5.0.0-16.4.2"), supports(hardening.ASVS, "v5.0.0-13.3.2"), supports(hardening.ISO27002, "8.24")},
	}
}

func (l *Log) checkHealth() hardening.Finding {
	observed := "takes records; each is on the disk and signed before it is acknowledged"
	err := l.Healthy()
	if err != nil {
		observed = err.Error()
	}
	return hardening.Finding{
		ID: "HDN-AUDITLOG-005", Severity: hardening.Critical,
		Title:    "Events are recorded, append-only and signed",
		Passed:   err == nil,
		Observed: observed,
		Expected: "the log takes records",
		Remedy:   "see ErrorLog for the cause, repair it and restart the service",
		Controls: []hardening.Control{
			implements(hardening.ASVS, "v5.0.0-16.4.2"), implements(hardening.ASVS, "v5.0.0-16.2.1"), implements(hardening.ASVS, "v5.0.0-16.2.2"), supports(hardening.ASVS, "v5.0.0-16.5.3"),
			supports(hardening.BIO, "12.4.1.1"), supports(hardening.BIO2, "8.15.01"), supports(hardening.BIO2, "8.15.03"), supports(hardening.ISO27002, "8.15"),
			supports(hardening.NEN7510, "A.12.4.1"), supports(hardening.NEN7513, "5"), supports(hardening.NIS2IR, "3.2.3"), supports(hardening.OWASP, "A09:2021"), supports(hardening.CSF, "PR.PS-04"), supports(hardening.CRA, "I.1.2(l)"),
		},
	}
}

func (l *Log) checkSegments() hardening.Finding {
	return hardening.Finding{
		ID: "HDN-AUDITLOG-006", Severity: hardening.Low,
		Title:    "Segments are small enough to read after a crash and to prune",
		Passed:   l.cfg.SegmentBytes <= maxSegment,
		Observed: fmt.Sprintf("%d MiB", l.cfg.SegmentBytes>>20),
		Expected: "at most 256 MiB",
		Remedy:   "leave SegmentBytes zero for 64 MiB",
		Controls: []hardening.Control{supports(hardening.ISO27002, "8.15"), supports(hardening.CSF, "PR.IR-04"), supports(hardening.NIS2IR, "3.2.5")},
	}
}

func (l *Log) checkDebug() hardening.Finding {
	debug := l.cfg.Next.Enabled(context.Background(), slog.LevelDebug)
	observed := "debug records are dropped"
	if debug {
		observed = "debug records are written in " + l.cfg.Environment.String()
	}
	return hardening.Finding{
		ID: "HDN-AUDITLOG-007", Severity: hardening.Medium,
		Title:    "Debug records are written in development only",
		Passed:   !debug || l.cfg.Environment == hardening.Development,
		Observed: observed,
		Expected: "level Info or above outside development",
		Remedy:   "raise the level of Next",
		Controls: []hardening.Control{supports(hardening.ASVS, "v5.0.0-13.4.2"), supports(hardening.ISO27002, "8.12"), supports(hardening.CWE, "532")},
	}
}

func (l *Log) checkTail() hardening.Finding {
	observed := "the log ended with a checkpoint"
	if l.torn.bytes > 0 {
		observed = fmt.Sprintf("%d bytes with %d records that nobody had signed were moved to quarantine", l.torn.bytes, l.torn.records)
	}
	return hardening.Finding{
		ID: "HDN-AUDITLOG-008", Severity: hardening.Low,
		Title:    "The process before this one left the log whole",
		Passed:   l.torn.bytes == 0,
		Observed: observed,
		Expected: "a log that ends with a checkpoint",
		Remedy:   "find out why the process before this one stopped; look into the quarantine file",
		Controls: []hardening.Control{supports(hardening.BIO2, "8.15.05"), supports(hardening.ASVS, "v5.0.0-16.4.2"), supports(hardening.NIS2IR, "3.2.3")},
	}
}

func (l *Log) checkMode() hardening.Finding {
	return hardening.Finding{
		ID: "HDN-AUDITLOG-009", Severity: hardening.High,
		Title:    "Nothing goes on before its event is durable",
		Passed:   l.cfg.Mode == Strict,
		Observed: "mode " + l.cfg.Mode.String(),
		Expected: "mode strict",
		Remedy:   "leave Mode zero",
		Controls: []hardening.Control{
			supports(hardening.ASVS, "v5.0.0-16.5.3"), supports(hardening.ISO27002, "8.15"), supports(hardening.BIO2, "8.15.01"), supports(hardening.NEN7513, "5"),
		},
	}
}

func (l *Log) checkAnchors() hardening.Finding {
	n := len(l.cfg.Anchors)
	observed := fmt.Sprintf("%d anchors", n)
	failed := l.anchors.failures()
	if failed > 0 {
		observed = fmt.Sprintf("%d of %d anchors did not take the newest checkpoint", failed, n)
	}
	if l.cfg.Replica != nil {
		observed += " and a replica"
	}
	return hardening.Finding{
		ID: "HDN-AUDITLOG-010", Severity: hardening.Low,
		Title:    "Somewhere else it is known how long the log is",
		Passed:   (n > 0 || l.cfg.Replica != nil) && failed == 0,
		Observed: observed,
		Expected: "an anchor or a replica that works",
		Remedy:   "set Config.Anchors, for example to a NewFileAnchor on storage of another owner; without one the newest records can be removed unseen until verification looks at their age",
		Controls: []hardening.Control{
			supports(hardening.ASVS, "v5.0.0-16.4.3"), supports(hardening.BIO2, "8.15.03"), supports(hardening.BIO2, "8.15.05"),
		},
	}
}

func (l *Log) checkReserve() hardening.Finding {
	observed := "1 MiB is set apart"
	if !l.reserved {
		observed = "nothing could be set apart"
	}
	return hardening.Finding{
		ID: "HDN-AUDITLOG-011", Severity: hardening.Low,
		Title:    "On a full disk the log can still say why it ends",
		Passed:   l.reserved,
		Observed: observed,
		Expected: "1 MiB set apart",
		Remedy:   "make room on the disk and open the log again",
		Controls: []hardening.Control{supports(hardening.ISO27002, "8.15"), supports(hardening.NIS2IR, "3.2.5"), supports(hardening.CSF, "PR.IR-04")},
	}
}
