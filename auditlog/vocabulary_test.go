package auditlog

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
)

// The levels are those of the OWASP Application Security Logging Vocabulary.
func TestNamesHaveTheLevelsOfTheVocabulary(t *testing.T) {
	for name, want := range map[string]slog.Level{
		AuthnLoginSuccess: slog.LevelInfo, AuthnLoginFail: slog.LevelWarn, AuthnLoginFailMax: slog.LevelWarn, AuthnLoginLock: slog.LevelWarn,
		AuthnPasswordChange: slog.LevelInfo, AuthnPasswordChangeFail: LevelCritical, AuthnImpossibleTravel: LevelCritical,
		AuthzFail: LevelCritical, AuthzChange: slog.LevelWarn, AuthzAdmin: slog.LevelWarn, CryptDecryptFail: slog.LevelWarn,
		ExcessRateLimitExceeded: slog.LevelWarn, UploadComplete: slog.LevelInfo, InputValidationFail: slog.LevelWarn, SequenceFail: LevelCritical,
		MaliciousExcess404: slog.LevelWarn, MaliciousAttackTool: LevelCritical, MaliciousCSRF: LevelCritical,
		SensitiveRead: slog.LevelWarn, SensitiveDelete: slog.LevelWarn, SessionCreated: slog.LevelInfo, SessionUseAfterExpire: slog.LevelWarn,
		SysStartup: slog.LevelWarn, SysMonitorDisabled: slog.LevelWarn, UserCreated: slog.LevelWarn,
		"no_name": slog.LevelInfo,
	} {
		if got := LevelOf(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if LevelCritical <= slog.LevelError {
		t.Error("critical is not above error")
	}
}

type slowValue struct{ begun, free chan struct{} }

func (v slowValue) MarshalJSON() ([]byte, error) {
	close(v.begun)
	<-v.free
	return json.Marshal(map[string]string{"password": planted, "note": "n"})
}

// A value that takes its time to encode itself holds up its own call only, and
// is redacted when it is done.
func TestASlowMarshalerHoldsUpNobodyElse(t *testing.T) {
	var out lockedBuffer
	log := slog.New(newRedactor(RedactorConfig{}).Handler(slog.NewJSONHandler(&out, nil)))
	v := slowValue{make(chan struct{}), make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		log.Info("slow", "v", v)
	}()
	<-v.begun
	log.LogAttrs(context.Background(), slog.LevelInfo, "quick")
	if s := out.String(); !strings.Contains(s, "quick") || strings.Contains(s, "slow") {
		t.Errorf("while one is slow: %s", s)
	}
	close(v.free)
	<-done
	if s := out.String(); !strings.Contains(s, `"msg":"slow"`) || !strings.Contains(s, `"note":"n"`) || bytes.Contains([]byte(s), []byte(planted)) {
		t.Errorf("%s", s)
	}
}
