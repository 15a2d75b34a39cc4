// Package tlsconfig serves TLS that meets the Dutch yardstick: the NCSC-NL TLS
// guidelines of 2025-05, which internet.nl measures and BIO2 5.14.01 and
// 8.24.04 refer to. Go's own default server configuration does not: it accepts
// ECDHE suites with CBC and SHA-1, which the guidelines call insufficient.
//
//	server, err := tlsconfig.NewServer(tlsconfig.ServerConfig{
//		Certs: []tlsconfig.CertSource{tlsconfig.Files("tls.crt", "tls.key")},
//	})
//	if err != nil {
//		log.Fatal(err) // every fault at once
//	}
//	log.Fatal(server.HTTPServer(h).ListenAndServeTLS("", ""))
//
// A [Profile] fixes the protocol versions, cipher suites and groups, each value
// cited in the code. [NewServer] refuses certificates that clients would refuse
// or that the guidelines call insufficient, and picks among several by the name
// the client asks for. [Harden] closes the gaps of http.Server: its zero value
// waits forever for a slow client. [NewDevCA] issues certificates for local
// development that cannot vouch for any public name. [Audit] judges a
// *tls.Config that somebody else made.
//
// # Threat model
//
// The network is hostile: it sees, drops and changes every byte, and records
// today what a quantum computer may open later; hence authenticated ciphers
// with forward secrecy only, and hybrid post-quantum groups first. The peer is
// hostile: it sends half a request and waits, or 100 KiB of headers. Whoever
// reads the logs is not trusted with keys: no error, event or finding holds
// PEM, key bytes or text a peer sent. Whoever copies the development CA's key
// can forge names that are reserved for private use, and no others. Not
// covered: a stolen private key of the service, and whoever can replace the
// process's files or set its GODEBUG; finding HDN-TLS-012 shows the latter.
package tlsconfig
