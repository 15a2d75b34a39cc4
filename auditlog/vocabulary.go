package auditlog

import (
	"log/slog"

	"github.com/inovy/hardening/internal/event"
)

// LevelCritical is the vocabulary's level above slog.LevelError: what calls
// RouteConfig.Alert.
const LevelCritical = event.LevelCritical

// LevelOf returns the level that the vocabulary gives a name, for whoever logs
// it through slog; Info for a name that it does not know. The log takes an event
// at any level.
func LevelOf(name string) slog.Level { return event.LevelOf(name) }

// Names of the OWASP Application Security Logging Vocabulary, and those that
// this library adds in its style. Use them as [Event.Type] or as the message
// of a record to [Log.Handler].
const (
	AuthnLoginSuccess          = event.AuthnLoginSuccess
	AuthnLoginSuccessAfterFail = event.AuthnLoginSuccessAfterFail
	AuthnLoginFail             = event.AuthnLoginFail
	AuthnLoginFailMax          = event.AuthnLoginFailMax
	AuthnLoginLock             = event.AuthnLoginLock
	AuthnPasswordChange        = event.AuthnPasswordChange
	AuthnPasswordChangeFail    = event.AuthnPasswordChangeFail
	AuthnImpossibleTravel      = event.AuthnImpossibleTravel
	AuthnTokenCreated          = event.AuthnTokenCreated
	AuthnTokenRevoked          = event.AuthnTokenRevoked
	AuthnTokenReuse            = event.AuthnTokenReuse
	AuthnTokenDelete           = event.AuthnTokenDelete

	AuthzFail   = event.AuthzFail
	AuthzChange = event.AuthzChange
	AuthzAdmin  = event.AuthzAdmin

	CryptDecryptFail = event.CryptDecryptFail
	CryptEncryptFail = event.CryptEncryptFail

	ExcessRateLimitExceeded = event.ExcessRateLimitExceeded
	InputValidationFail     = event.InputValidationFail
	SequenceFail            = event.SequenceFail

	UploadComplete   = event.UploadComplete
	UploadStored     = event.UploadStored
	UploadValidation = event.UploadValidation
	UploadDelete     = event.UploadDelete

	MaliciousExcess404       = event.MaliciousExcess404
	MaliciousExtraneous      = event.MaliciousExtraneous
	MaliciousAttackTool      = event.MaliciousAttackTool
	MaliciousSQLi            = event.MaliciousSQLi
	MaliciousCORS            = event.MaliciousCORS
	MaliciousDirectReference = event.MaliciousDirectReference
	MaliciousCSRF            = event.MaliciousCSRF
	MaliciousCSPViolation    = event.MaliciousCSPViolation

	PrivilegePermissionsChanged = event.PrivilegePermissionsChanged

	SensitiveCreate = event.SensitiveCreate
	SensitiveRead   = event.SensitiveRead
	SensitiveUpdate = event.SensitiveUpdate
	SensitiveDelete = event.SensitiveDelete

	SessionCreated        = event.SessionCreated
	SessionRenewed        = event.SessionRenewed
	SessionExpired        = event.SessionExpired
	SessionRevoked        = event.SessionRevoked
	SessionUseAfterExpire = event.SessionUseAfterExpire

	SysStartup         = event.SysStartup
	SysShutdown        = event.SysShutdown
	SysRestart         = event.SysRestart
	SysCrash           = event.SysCrash
	SysMonitorDisabled = event.SysMonitorDisabled
	SysMonitorEnabled  = event.SysMonitorEnabled

	UserCreated  = event.UserCreated
	UserUpdated  = event.UserUpdated
	UserArchived = event.UserArchived
	UserDeleted  = event.UserDeleted

	ConfigChanged   = event.ConfigChanged
	EmailSent       = event.EmailSent
	Export          = event.Export
	Invite          = event.Invite
	WebhookRejected = event.WebhookRejected
	FileCreated     = event.FileCreated
	FileRead        = event.FileRead
	FileDeleted     = event.FileDeleted
)
