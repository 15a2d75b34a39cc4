package event

// Operational messages of package tlsconfig. They are not of the vocabulary:
// they go to Logger alone, and the audit log takes them for chatter.
const (
	TLSHandshakeFailed     = "tls_handshake_failed"
	TLSVerificationSkipped = "tls_verification_skipped"
	OCSPStapleFailed       = "ocsp_staple_failed"
	HTTPClientCall         = "http_client_call"
	HTTPHandlerPanic       = "http_handler_panic"
	HTTPServerError        = "http_server_error"
)

// Attribute names of package tlsconfig.
const (
	KeySource         = "source"    // file that a certificate came from
	KeyNotAfter       = "not_after" // end of a certificate
	KeySerial         = "serial"    // of a certificate, in hex
	KeyResumed        = "resumed"   // whether the TLS session was resumed
	KeyBefore         = "before"    // digest of what a change replaced
	KeyAfter          = "after"     // digest of what it put there
	KeyLastClientAddr = "last_client_addr"
	KeyLastAddress    = "last_address" // destination of the last of several dials
	KeyStack          = "stack"
	KeyMethod         = "method"
	KeyHost           = "host"
	KeyStatus         = "status"
	KeyProtocol       = "protocol"
	KeyDuration       = "duration"
	KeyRedirects      = "redirects"
	KeyTLS            = "tls"   // version
	KeyGroup          = "group" // of the key agreement
)
