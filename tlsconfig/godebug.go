package tlsconfig

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// godebug returns the GODEBUG setting that is in force for key, or "". The
// environment outranks what the build chose (the go line of go.mod and
// //go:debug lines), as in the runtime.
func godebug(key string) string {
	v, _ := godebugFrom(key)
	return v
}

// godebugFrom also says who set it: "environment" or "build".
func godebugFrom(key string) (value, from string) {
	if v, ok := lookupGodebug(os.Getenv("GODEBUG"), key); ok {
		return v, "environment"
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "DefaultGODEBUG" {
				v, _ := lookupGodebug(s.Value, key)
				return v, "build"
			}
		}
	}
	return "", ""
}

// lookupGodebug: the last setting of a key counts.
func lookupGodebug(list, key string) (value string, ok bool) {
	for kv := range strings.SplitSeq(list, ",") {
		if k, v, found := strings.Cut(kv, "="); found && k == key {
			value, ok = v, true
		}
	}
	return value, ok
}

// weakeningGodebug lists the settings in force that weaken TLS. Several reach
// past an explicit tls.Config: tlsmlkem=0 removes the hybrid groups from
// CurvePreferences too, and is the default of a program whose go.mod says
// less than go 1.24.
func weakeningGodebug() []string {
	var out []string
	for _, w := range [...]struct{ key, value string }{
		{"tls10server", "1"},        // TLS 1.0 where MinVersion is zero
		{"tlsrsakex", "1"},          // RSA key exchange where CipherSuites is nil
		{"tls3des", "1"},            // 3DES where CipherSuites is nil
		{"tlssha1", "1"},            // SHA-1 signatures in TLS 1.2
		{"tlsmlkem", "0"},           // no hybrid groups
		{"tlssecpmlkem", "0"},       // no hybrid groups with P-256 and P-384
		{"tlsunsafeekm", "1"},       // keying material without extended master secret
		{"rsa1024min", "0"},         // RSA keys below 1024 bits
		{"x509usepolicies", "0"},    // certificate policies are not checked
		{"x509negativeserial", "1"}, // malformed serial numbers
	} {
		if v, from := godebugFrom(w.key); v == w.value {
			out = append(out, fmt.Sprintf("%s=%s (%s)", w.key, v, from))
		}
	}
	v, from := godebugFrom("tlsmaxrsasize")
	if n, err := strconv.Atoi(v); err == nil && n > 8192 {
		out = append(out, fmt.Sprintf("tlsmaxrsasize=%d (%s)", n, from))
	}
	return out
}
