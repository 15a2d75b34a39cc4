package hardening

import "fmt"

// Environment is where a service runs. The zero value is Production, so that
// forgetting the field never weakens anything.
type Environment uint8

// The environments. Only Development relaxes rules, and each room says which.
const (
	Production Environment = iota
	Staging
	Development
)

// String returns the lower-case name: "production", "staging", "development".
func (e Environment) String() string {
	switch e {
	case Production:
		return "production"
	case Staging:
		return "staging"
	case Development:
		return "development"
	}
	return fmt.Sprintf("environment(%d)", uint8(e))
}

// Valid reports whether e is one of the three constants.
func (e Environment) Valid() bool { return e <= Development }

// ParseEnvironment is the inverse of [Environment.String]. It accepts exactly
// "production", "staging" and "development"; anything else, the empty string
// included, is an error, because guessing an environment is how development
// rules reach production.
func ParseEnvironment(s string) (Environment, error) {
	for e := Production; e <= Development; e++ {
		if e.String() == s {
			return e, nil
		}
	}
	return Production, &ConfigError{
		Room: "hardening", Field: "Environment", Value: clip(s),
		Reason: "is not an environment",
		Fix:    `use "production", "staging" or "development"`,
	}
}

// MarshalText writes the name.
func (e Environment) MarshalText() ([]byte, error) {
	if !e.Valid() {
		return nil, fmt.Errorf("hardening: %v is not an environment", e)
	}
	return []byte(e.String()), nil
}

// UnmarshalText reads a name as [ParseEnvironment] does.
func (e *Environment) UnmarshalText(b []byte) error {
	v, err := ParseEnvironment(string(b))
	if err != nil {
		return err
	}
	*e = v
	return nil
}
