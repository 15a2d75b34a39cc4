package tlsconfig

import (
	"net/http"
	"time"

	"github.com/inovy/hardening/internal/event"
)

// The limits of a hardened http.Server. Its zero value has no time limit at
// all, so that a client which sends one byte a minute holds a connection for
// ever.
const (
	// readHeaderTimeout also limits the TLS handshake. Ten seconds are four
	// round trips on a bad mobile link with a lost packet in each.
	readHeaderTimeout = 10 * time.Second

	// readTimeout covers header and body: 30 s carry 10 MiB at 3 Mbit/s. A
	// handler that takes uploads extends it for its own request with
	// http.ResponseController.SetReadDeadline.
	readTimeout = 30 * time.Second

	// writeTimeout runs from the end of the request header to the end of the
	// response. It is twice readTimeout, because the body's time counts: a
	// handler still has 30 s after the slowest upload. Event streams and large
	// downloads extend it with http.ResponseController.SetWriteDeadline.
	writeTimeout = 60 * time.Second

	// idleTimeout is longer than the 60 s that common proxies keep an idle
	// connection: whoever closes first must not be the side that the other
	// is just about to send a request to.
	idleTimeout = 120 * time.Second

	// maxHeaderBytes: Go's 1 MiB lets 1000 connections take 1 GiB. Cookies and
	// tokens of real clients stay under 16 KiB.
	maxHeaderBytes = 64 << 10

	// maxConcurrentStreams is the least that RFC 9113 section 6.5.2
	// recommends; Go allows 250.
	maxConcurrentStreams = 100
)

// HTTPServer returns a hardened server for h with s's configuration:
//
//	srv := server.HTTPServer(h)
//	srv.Addr = "127.0.0.1:8443" // default ":https"
//	err := srv.ListenAndServeTLS("", "")
//
// ServeTLS on a listener and Serve on one made with tls.NewListener work too.
// A nil h answers 404: http.DefaultServeMux, which http.Server would take, may
// hold the profiler. Errors of the server go to s's Logger as attributes of
// fixed words; see [Harden]. Connections end after ServerConfig.MaxConnAge: the
// server's Handler, ConnContext and ConnState see to that, so a ConnContext or
// ConnState of your own must call this one.
//
// A request for a host that is none of the certificates' is answered 421; see
// ServerConfig.Hosts. Where h serves several hosts differently, compare the
// host there: any of them may come over any connection.
func (s *Server) HTTPServer(h http.Handler) *http.Server {
	if h == nil {
		h = http.NotFoundHandler()
	}
	srv := &http.Server{Handler: h, ErrorLog: newErrorLog(s.logger, s.name)} // #nosec G112 -- Harden sets every timeout below
	srv.TLSConfig = s.tlsConfig(srv)
	if !s.anyHost {
		s.refuseForeignHosts(srv)
	}
	if s.connAge > 0 {
		limitConnAge(srv, s.connAge, s.grace, event.Sink{Logger: s.logger, Room: room, Name: s.name})
	}
	if s.auth != nil {
		s.keepAdmitting(srv)
	}
	Harden(srv)
	return srv
}

// offersHTTP2 reports what srv makes of HTTP/2 when it serves.
func offersHTTP2(srv *http.Server) bool {
	if srv.Protocols != nil {
		return srv.Protocols.HTTP2()
	}
	_, ok := srv.TLSNextProto["h2"] // http.Server puts it there itself unless the map was made by hand
	return ok || srv.TLSNextProto == nil
}

// Harden sets the limits that the zero value of http.Server lacks. Fields that
// are set already are kept: they are the service's own decision.
//
//	ReadHeaderTimeout  10 s     MaxHeaderBytes               64 KiB
//	ReadTimeout        30 s     HTTP2.MaxConcurrentStreams   100
//	WriteTimeout       60 s     Protocols                    HTTP/1.1, HTTP/2 over TLS
//	IdleTimeout        120 s    ErrorLog                     slog.Default()
//
// It sets DisableGeneralOptionsHandler, so that "OPTIONS *" passes the
// service's middleware instead of being answered 200 before it. The ErrorLog
// withholds panic values and text that a peer chose, and counts failed
// handshakes instead of listing each. Harden does not touch TLSConfig and
// serves a plain-text redirect server as well. Call it before serving.
func Harden(srv *http.Server) {
	if srv.ReadHeaderTimeout == 0 {
		srv.ReadHeaderTimeout = readHeaderTimeout
	}
	if srv.ReadTimeout == 0 {
		srv.ReadTimeout = readTimeout
	}
	if srv.WriteTimeout == 0 {
		srv.WriteTimeout = writeTimeout
	}
	if srv.IdleTimeout == 0 {
		srv.IdleTimeout = idleTimeout
	}
	if srv.MaxHeaderBytes == 0 {
		srv.MaxHeaderBytes = maxHeaderBytes
	}
	if srv.Protocols == nil {
		srv.Protocols = new(http.Protocols)
		srv.Protocols.SetHTTP1(true)
		srv.Protocols.SetHTTP2(true)
	}
	var h2 http.HTTP2Config
	if srv.HTTP2 != nil {
		h2 = *srv.HTTP2 // a copy: the service may share its own between servers
	}
	if h2.MaxConcurrentStreams == 0 {
		h2.MaxConcurrentStreams = maxConcurrentStreams
	}
	srv.HTTP2 = &h2
	srv.DisableGeneralOptionsHandler = true
	if srv.ErrorLog == nil {
		srv.ErrorLog = newErrorLog(nil, room)
	}
}
