package tlsconfig

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"syscall"
)

// CallError is why a call failed, in words of this package: it quotes nothing
// that came from the peer, and of the URL the host alone. The cause is there
// for errors.Is and errors.As; its own text may hold what must not be logged.
type CallError struct {
	Host   string // as in the URL, port included
	Reason string // "certificate of an unknown authority", "timeout" ...

	cause error
}

// Error reads as "tlsconfig: call to example.org: timeout".
func (e *CallError) Error() string {
	if e.Host == "" {
		return "tlsconfig: call: " + e.Reason
	}
	return "tlsconfig: call to " + e.Host + ": " + e.Reason
}

// Unwrap returns the cause.
func (e *CallError) Unwrap() error { return e.cause }

// Timeout reports whether the call took too long, as *url.Error asks.
func (e *CallError) Timeout() bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](e.cause)
	return errors.Is(e.cause, context.DeadlineExceeded) || ok && t.Timeout()
}

// logReason tells the log what the text does not tell whoever chose the URL.
func (e *CallError) logReason() string {
	d, ok := errors.AsType[*DialError](e.cause)
	if !ok {
		return e.Reason
	}
	if d.Refused {
		return "refused by the dialler: " + d.Reason
	}
	return d.Reason
}

// body is a response's body whose errors quote nothing of the peer, as those
// of net/http do about chunks and trailers.
type body struct {
	io.ReadCloser
	url *url.URL
}

// Read implements io.Reader.
func (b body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // readers return it bare
		err = callError(err, b.url)
	}
	return n, err
}

func callError(err error, u *url.URL) *CallError {
	if e, ok := errors.AsType[*CallError](err); ok {
		if u != nil && e.Host != hostOfURL(u) {
			return &CallError{Host: hostOfURL(u), Reason: e.Reason, cause: e.cause}
		}
		return e
	}
	return &CallError{Host: hostOfURL(u), Reason: callReason(err), cause: err}
}

// callReason sorts errors by type; texts are not read.
func callReason(err error) string {
	if _, ok := errors.AsType[*DialError](err); ok {
		return "no connection to this destination" // whoever chose the URL may read it
	}
	for _, own := range []struct {
		is     error
		reason string
	}{
		{ErrPlainHTTP, "only https URLs are called"},
		{ErrURLCredentials, "the URL holds credentials"},
		{errRedirects, "more than 10 redirects"},
		{errRedirectURL, "a redirect to something that is no URL"},
		{errRedirectBody, "a redirect would send the body to another host"},
		{ErrNoServerName, "the name that the server must have is not known"},
		{ErrPin, "no key in the server's chain is pinned"},
		{ErrWeakKey, "a key in the server's chain is too weak"},
		{errNoServerCert, "the server has no certificate"},
		{context.Canceled, "cancelled"},
		{context.DeadlineExceeded, "timeout"},
		{syscall.ECONNREFUSED, "connection refused"},
		{syscall.ECONNRESET, "connection reset"},
		{io.ErrUnexpectedEOF, "the connection ended early"},
		{net.ErrClosed, "the connection was closed"},
	} {
		if errors.Is(err, own.is) {
			return own.reason
		}
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return "timeout"
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "the name cannot be resolved"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the certificate is for another name"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the certificate is of an unknown authority"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired {
			return "the certificate has expired or is not valid yet"
		}
		return "the certificate is not valid for this"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the certificate cannot be verified"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the server does not speak TLS"
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		if e.Op == "remote error" { // crypto/tls's word for an alert
			return "the server refused the TLS connection"
		}
		return "the connection failed"
	}
	return "failed"
}

// SafeError makes an error of net/http or net/url safe to log: a *url.Error
// keeps scheme and host of its URL and gets a [CallError] for a cause; any
// other error becomes a CallError. errors.Is and errors.As still reach the
// causes. nil stays nil.
func SafeError(err error) error {
	if err == nil {
		return nil
	}
	ue, ok := errors.AsType[*url.Error](err)
	if !ok {
		return callError(err, nil)
	}
	clean := &url.Error{Op: ue.Op}
	u, perr := url.Parse(ue.URL)
	if perr == nil && u.Host != "" {
		clean.URL = (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
	} else {
		u = nil
	}
	clean.Err = callError(ue.Err, u)
	return clean
}
