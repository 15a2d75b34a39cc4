package hardening

import (
	"fmt"
	"strings"
)

// Severity is how much it costs when a check fails.
type Severity uint8

// The severities, lowest first. Critical findings can not be accepted as a
// deviation.
const (
	Info Severity = iota
	Low
	Medium
	High
	Critical
)

var severityNames = [...]string{"info", "low", "medium", "high", "critical"}

// String returns the lower-case name.
func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return fmt.Sprintf("severity(%d)", uint8(s))
}

// MarshalText writes the name.
func (s Severity) MarshalText() ([]byte, error) {
	if int(s) >= len(severityNames) {
		return nil, fmt.Errorf("hardening: %v is not a severity", s)
	}
	return []byte(severityNames[s]), nil
}

// UnmarshalText reads a name as written by MarshalText.
func (s *Severity) UnmarshalText(b []byte) error {
	for i, name := range severityNames {
		if name == string(b) {
			*s = Severity(i)
			return nil
		}
	}
	return fmt.Errorf("hardening: %q is not a severity; use one of %s", clip(string(b)), strings.Join(severityNames[:], ", "))
}

// Framework names a published set of controls. The library carries ids and
// its own words only, never the text of a norm.
type Framework string

// The frameworks that findings refer to.
const (
	ASVS     Framework = "ASVS"     // OWASP ASVS 5.0.0; ids as v5.0.0-3.4.1
	OWASP    Framework = "OWASP"    // OWASP Top 10; ids as A05:2021, A02:2025
	BIO      Framework = "BIO"      // Baseline Informatiebeveiliging Overheid 1.04
	BIO2     Framework = "BIO2"     // its successor, v1.3; ids as 8.15.01
	ISO27002 Framework = "ISO27002" // ISO/IEC 27002:2022, the numbers NEN 7510:2024 shares
	NEN7510  Framework = "NEN7510"  // NEN 7510-2:2017; ids as A.12.4.1
	NEN7513  Framework = "NEN7513"  // NEN 7513:2018, logging of actions on patient files
	NIS2     Framework = "NIS2"     // Directive 2022/2555 art. 21(2), a letter each
	NIS2IR   Framework = "NIS2-IR"  // Implementing Regulation 2024/2690, annex
	GDPR     Framework = "GDPR"     // Regulation 2016/679; ids as 32(1)(a)
	CRA      Framework = "CRA"      // Regulation 2024/2847 annex I
	CSF      Framework = "NIST-CSF" // NIST Cybersecurity Framework 2.0
	NCSCTLS  Framework = "NCSC-TLS" // NCSC-NL TLS guidelines 2025-05, a paragraph each
	RFC      Framework = "RFC"      // an IETF RFC and its section
	CWE      Framework = "CWE"      // a weakness the check guards against
	Mozilla  Framework = "Mozilla"  // Mozilla server-side TLS 6.0
)

// Relation says what a check does for a control. There is deliberately no
// word for "complies": a library never makes a service compliant.
type Relation string

// The relations.
const (
	Implements Relation = "implements" // the room does what the control asks
	Supports   Relation = "supports"   // the room does a part of it
	Evidences  Relation = "evidences"  // the room shows whether it is done
)

// Control is one requirement of a framework and what a check does for it.
type Control struct {
	Framework Framework `json:"framework"`
	ID        string    `json:"id"`
	Relation  Relation  `json:"relation"`
}

// String reads as "ASVS v5.0.0-3.4.1 (implements)".
func (c Control) String() string {
	return string(c.Framework) + " " + c.ID + " (" + string(c.Relation) + ")"
}

// Finding is one check of a room, passed or failed, as its live configuration
// stands. Findings that passed are evidence, so Check returns them too.
// No field ever holds a secret.
type Finding struct {
	// ID is permanent: HDN-<ROOM>-<NNN>, for example "HDN-TLS-003".
	ID string `json:"id"`
	// Component is the Name of the instance, or the room's name.
	Component string `json:"component"`
	// Title says in one line what is checked.
	Title string `json:"title"`
	// Passed is whether the live configuration meets the check.
	Passed bool `json:"passed"`
	// Severity is what a failure costs; it does not depend on Passed.
	Severity Severity `json:"severity"`
	// Observed is what the live configuration has, Expected what it should have.
	Observed string `json:"observed"`
	Expected string `json:"expected"`
	// Remedy says what to change when it failed.
	Remedy string `json:"remedy,omitempty"`
	// Controls are the requirements this check bears on.
	Controls []Control `json:"controls,omitempty"`
}

// String reads as "FAIL HDN-TLS-003 high tlsconfig: title (observed ..., expected ...)".
func (f Finding) String() string {
	state := "pass"
	if !f.Passed {
		state = "FAIL"
	}
	return fmt.Sprintf("%s %s %s %s: %s (observed %s; expected %s)", state, f.ID, f.Severity, f.Component, f.Title, f.Observed, f.Expected)
}

// Checker is anything that can report findings about its live configuration.
// Check does no I/O, never blocks and is safe for concurrent use.
type Checker interface {
	Check() []Finding
}
