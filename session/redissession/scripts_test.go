package redissession

import (
	"crypto/sha1"
	"encoding/hex"
	"testing"
)

func TestDigestsAreThoseOfTheScripts(t *testing.T) {
	for name, s := range map[string]script{
		"load": loadScript, "alive": aliveScript, "delete": deleteScript, "create": createScript, "update": updateScript,
		"touch": touchScript, "list": listScript, "revoke": revokeScript, "mark": markScript, "end": endScript, "ended": endedScript,
		"begin": beginScript, "spare": spareScript,
	} {
		sum := sha1.Sum([]byte(s.source))
		if want := hex.EncodeToString(sum[:]); s.sha1 != want {
			t.Errorf("%s: the digest is written as %q and is %q", name, s.sha1, want)
		}
	}
}
