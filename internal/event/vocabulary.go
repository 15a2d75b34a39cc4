package event

import "log/slog"

// Names of the OWASP Application Security Logging Vocabulary (cheat sheet
// series), and below them those that the library adds in the same style.
const (
	AuthnLoginSuccess          = "authn_login_success"
	AuthnLoginSuccessAfterFail = "authn_login_successafterfail"
	AuthnLoginFail             = "authn_login_fail"
	AuthnLoginFailMax          = "authn_login_fail_max"
	AuthnLoginLock             = "authn_login_lock"
	AuthnPasswordChange        = "authn_password_change"
	AuthnPasswordChangeFail    = "authn_password_change_fail"
	AuthnImpossibleTravel      = "authn_impossible_travel"
	AuthnTokenCreated          = "authn_token_created"
	AuthnTokenRevoked          = "authn_token_revoked"
	AuthnTokenReuse            = "authn_token_reuse"
	AuthnTokenDelete           = "authn_token_delete"

	AuthzFail   = "authz_fail"
	AuthzChange = "authz_change"
	AuthzAdmin  = "authz_admin"

	CryptDecryptFail = "crypt_decrypt_fail"
	CryptEncryptFail = "crypt_encrypt_fail"

	ExcessRateLimitExceeded = "excess_rate_limit_exceeded"

	UploadComplete   = "upload_complete"
	UploadStored     = "upload_stored"
	UploadValidation = "upload_validation"
	UploadDelete     = "upload_delete"

	InputValidationFail = "input_validation_fail"

	MaliciousExcess404       = "malicious_excess_404"
	MaliciousExtraneous      = "malicious_extraneous"
	MaliciousAttackTool      = "malicious_attack_tool"
	MaliciousSQLi            = "malicious_sqli"
	MaliciousCORS            = "malicious_cors"
	MaliciousDirectReference = "malicious_direct_reference"
	MaliciousCSRF            = "malicious_csrf"
	MaliciousCSPViolation    = "malicious_csp_violation"

	PrivilegePermissionsChanged = "privilege_permissions_changed"

	SensitiveCreate = "sensitive_create"
	SensitiveRead   = "sensitive_read"
	SensitiveUpdate = "sensitive_update"
	SensitiveDelete = "sensitive_delete"

	SequenceFail = "sequence_fail"

	SessionCreated        = "session_created"
	SessionRenewed        = "session_renewed"
	SessionExpired        = "session_expired"
	SessionUseAfterExpire = "session_use_after_expire"

	SysStartup         = "sys_startup"
	SysShutdown        = "sys_shutdown"
	SysRestart         = "sys_restart"
	SysCrash           = "sys_crash"
	SysMonitorDisabled = "sys_monitor_disabled"
	SysMonitorEnabled  = "sys_monitor_enabled"

	UserCreated  = "user_created"
	UserUpdated  = "user_updated"
	UserArchived = "user_archived"
	UserDeleted  = "user_deleted"

	// Added by the library.
	SessionRevoked      = "session_revoked"
	SessionForged       = "session_forged"
	ConfigChanged       = "config_changed"
	SecretLoaded        = "secret_loaded"
	SecretRotated       = "secret_rotated"
	SecretReloadFail    = "secret_reload_fail"
	SecretDue           = "secret_due"
	SecretOverdue       = "secret_overdue"
	CertificateReloaded = "certificate_reloaded"
	CertificateRejected = "certificate_rejected"
	CertificateExpiring = "certificate_expiring"
	StoreDegraded       = "store_degraded"
	StoreRecovered      = "store_recovered"
	StoreReset          = "store_reset"
	EmailSent           = "email_sent"
	Export              = "export"
	Invite              = "invite"
	WebhookRejected     = "webhook_rejected"
	FileCreated         = "file_created"
	FileRead            = "file_read"
	FileDeleted         = "file_deleted"

	ForwardedHeaderIgnored = "forwarded_header_ignored"
)

// levels lists every name that is not at Info. Sources: the vocabulary's own
// level for its names; for ours, Warn where someone must look and Critical
// where protection is gone.
var levels = map[string]slog.Level{
	AuthnLoginFail: slog.LevelWarn, AuthnLoginFailMax: slog.LevelWarn, AuthnLoginLock: slog.LevelWarn,
	AuthnPasswordChangeFail: LevelCritical, AuthnImpossibleTravel: LevelCritical,
	AuthnTokenReuse: LevelCritical, AuthnTokenDelete: slog.LevelWarn,
	AuthzFail: LevelCritical, AuthzChange: slog.LevelWarn, AuthzAdmin: slog.LevelWarn,
	CryptDecryptFail: slog.LevelWarn, CryptEncryptFail: slog.LevelWarn,
	ExcessRateLimitExceeded: slog.LevelWarn, UploadValidation: slog.LevelInfo,
	InputValidationFail: slog.LevelWarn,
	MaliciousExcess404:  slog.LevelWarn, MaliciousExtraneous: LevelCritical, MaliciousAttackTool: LevelCritical,
	MaliciousSQLi: LevelCritical, MaliciousCORS: LevelCritical, MaliciousDirectReference: LevelCritical,
	MaliciousCSRF: LevelCritical, MaliciousCSPViolation: slog.LevelWarn,
	PrivilegePermissionsChanged: slog.LevelWarn,
	SensitiveCreate:             slog.LevelWarn, SensitiveRead: slog.LevelWarn, SensitiveUpdate: slog.LevelWarn, SensitiveDelete: slog.LevelWarn,
	SequenceFail:          LevelCritical,
	SessionUseAfterExpire: slog.LevelWarn,
	SysStartup:            slog.LevelWarn, SysShutdown: slog.LevelWarn, SysRestart: slog.LevelWarn,
	SysCrash: slog.LevelWarn, SysMonitorDisabled: slog.LevelWarn, SysMonitorEnabled: slog.LevelWarn,
	UserCreated: slog.LevelWarn, UserUpdated: slog.LevelWarn, UserArchived: slog.LevelWarn, UserDeleted: slog.LevelWarn,
	SessionForged: slog.LevelWarn, ConfigChanged: slog.LevelWarn,
	SecretReloadFail: slog.LevelError, SecretDue: slog.LevelWarn, SecretOverdue: slog.LevelError,
	CertificateRejected: slog.LevelError, CertificateExpiring: slog.LevelWarn,
	StoreDegraded: slog.LevelError, StoreRecovered: slog.LevelWarn, StoreReset: slog.LevelWarn,
	Export: slog.LevelWarn, WebhookRejected: slog.LevelWarn, FileDeleted: slog.LevelWarn,
	ForwardedHeaderIgnored: slog.LevelWarn,
}

// names lists the names at Info, so that Known is exact.
var names = map[string]bool{
	AuthnLoginSuccess: true, AuthnLoginSuccessAfterFail: true, AuthnPasswordChange: true,
	AuthnTokenCreated: true, AuthnTokenRevoked: true, UploadComplete: true, UploadStored: true, UploadDelete: true,
	SessionCreated: true, SessionRenewed: true, SessionExpired: true, SessionRevoked: true,
	SecretLoaded: true, SecretRotated: true, CertificateReloaded: true,
	EmailSent: true, Invite: true, FileCreated: true, FileRead: true,
}

// Known reports whether name is one of the vocabulary's or the library's.
func Known(name string) bool {
	if _, ok := levels[name]; ok {
		return true
	}
	return names[name]
}

// LevelOf returns the level of a name; an unknown name is at Info.
func LevelOf(name string) slog.Level { return levels[name] }
