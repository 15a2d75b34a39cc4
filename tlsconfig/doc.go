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
// the client asks for. It follows the files: what is renewed is checked and
// taken over, what is wrong is reported and the last good state kept; a
// [Standby] takes over from a certificate that expired or was revoked. OCSP
// answers are stapled for certificates that name a responder, which this
// process then asks. [ClientAuth] lets in clients by name. [Harden] closes the gaps of http.Server: its zero value
// waits forever for a slow client. [NewDevCA] issues certificates for local
// development that cannot vouch for any public name.
//
// [NewClient] is the other side: it verifies servers against roots that can be
// replaced while it runs, presents its own certificate, and calls other
// services through an http.Client with limits:
//
//	client, err := tlsconfig.NewClient(tlsconfig.ClientConfig{Roots: tlsconfig.CAFile("ca.crt")})
//	...
//	res, err := client.Do(req) // err holds no query, path, header or key
//
// [PublicDialer] keeps
// requests to URLs that somebody else chose out of your own network. [Audit]
// judges a *tls.Config that somebody else made.
//
// # Threat model
//
// The network is hostile: it sees, drops and changes every byte, and records
// today what a quantum computer may open later; hence authenticated ciphers
// with forward secrecy only, and hybrid post-quantum groups first. The peer is
// hostile: it sends half a request and waits, or 100 KiB of headers, or a Host that is not ours. Whoever
// reads the logs is not trusted with keys: no error, event or finding holds
// PEM, key bytes, text a peer sent, or of a URL more than its host; only the
// *url.Error of an http.Client needs [SafeError]. A client that was taken off
// the list holds a session and an open connection: both are checked again. A
// ticket opens for the name it was given for, for 36 hours at most, and never
// for a client with a certificate. Whoever chooses a URL wants it to lead
// inside, and owns a resolver that answers as it likes: a [Dialer] judges the
// address at the moment of connecting. Whoever was let in once may not stay for
// ever: connections end after ServerConfig.MaxConnAge. Whoever copies the
// development CA's key can forge names that are reserved for private use, and
// no others. Not covered: a stolen private key of the service; revocation of
// peers' certificates, for which short lifetimes, the allow-list and pins stand
// in; and whoever can replace the process's files with valid ones or set its
// GODEBUG, which finding HDN-TLS-012 shows.
package tlsconfig
