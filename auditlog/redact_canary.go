package auditlog

import (
	"fmt"
	"strings"
)

// canaries are values that must not get through, one for each pattern; all are
// public examples or made up.
var canaries = [...]struct {
	pattern Pattern
	text    string
	hidden  string // the part that may not be seen
}{
	{JWT, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlc2lnbmF0dXJl", "c2lnbmF0dXJl"},
	{PrivateKey, "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----", "Y2FuYXJ5"},
	{APIKey, "ghp_0123456789abcdefghijABCDEFGHIJ012345", "abcdefghij"},
	{Credential, "Bearer c4nary-C4NARY-c4nary-c4nary", "c4nary"},
	{URLUser, "postgres://app:c4nary@db/x", "c4nary"},
	{Assignment, "password=c4nary", "c4nary"},
	{PAN, "4111 1111 1111 1111", "1111"},
	{IBAN, "NL91ABNA0417164300", "0417164300"},
	{BSN, "123456782", "123456782"},
	{Email, "canary@example.nl", "canary"},
}

// selfTest sends the canaries through r, so that a redactor that is broken, by
// a build or by memory, does not come into service.
func (r *Redactor) selfTest() error {
	for _, c := range canaries {
		if r.off&bit(c.pattern) == 0 && strings.Contains(r.String("x "+c.text+" y"), c.hidden) {
			return fmt.Errorf("auditlog: the redactor's self-test failed: pattern %q gets through", c.pattern)
		}
	}
	return nil
}
