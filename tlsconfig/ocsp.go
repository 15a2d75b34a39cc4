package tlsconfig

import (
	"bytes"
	"context"
	"crypto"
	"crypto/fips140"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/inovy/hardening/internal/event"
)

// The server staples by asking the responder that the certificate names, and
// does nothing about certificates that name none, as most of today do. A file
// beside the certificate would need a job that nobody watches. The responder
// comes from the operator's own certificate, no redirect is followed, and no
// handshake ever waits: until there is a good answer, none is stapled.
const (
	ocspTimeout  = 10 * time.Second
	ocspMaxBytes = 64 << 10       // answers are about 1 KiB, with a delegated signer 3
	ocspMost     = 12 * time.Hour // between two looks: a revocation must not stay unnoticed for days
	ocspRetry    = time.Minute    // doubled up to an hour
)

// staple is what is known about the revocation of one certificate.
type staple struct {
	der        []byte // a good answer; nil = none
	nextUpdate time.Time
	revoked    bool
	problem    string    // why there is no newer answer
	next       time.Time // when to ask; zero = at once
	failures   int
}

// responder is the URL to ask about p, or nothing.
func (p *pair) responder() string {
	if len(p.leaf().OCSPServer) == 0 {
		return ""
	}
	return p.leaf().OCSPServer[0]
}

// stapleDue is when to ask about c, and whether to ask at all.
func (k *keeper) stapleDue(c *certState) (at time.Time, ok bool) {
	if k.role != RoleServer || c.pair.responder() == "" {
		return at, false
	}
	at = c.staple.next
	if c.staple.der != nil && c.staple.nextUpdate.Before(at) {
		at = c.staple.nextUpdate
	}
	return at, true
}

// refreshStaples asks the responders that are due, and drops answers that are
// too old to show: clients refuse a connection over one.
func (k *keeper) refreshStaples(ctx context.Context) {
	type job struct {
		i    int
		pair *pair
		was  staple
	}
	var jobs []job
	now := time.Now()
	k.mu.Lock()
	for i := range k.certs {
		c := &k.certs[i]
		if at, ok := k.stapleDue(c); ok && !now.Before(at) {
			if c.staple.der != nil && !now.Before(c.staple.nextUpdate) {
				c.staple.der = nil
				k.publish()
			}
			jobs = append(jobs, job{i, c.pair, c.staple})
		}
	}
	k.mu.Unlock()

	for _, j := range jobs {
		s := j.was.renew(ctx, j.pair)
		if ctx.Err() != nil {
			return
		}
		if s.problem != "" && s.problem != j.was.problem {
			k.log(ctx, slog.LevelWarn, event.OCSPStapleFailed, slog.String(event.KeySource, j.pair.source), slog.String(event.KeyReason, s.problem))
		}
		if s.revoked && !j.was.revoked {
			_ = k.sink.Emit(ctx, event.CertificateRejected, append(j.pair.attrs(), // nothing to refuse: the issuer has spoken
				slog.String(event.KeyOutcome, event.OutcomeFailure), slog.String(event.KeyReason, "revoked by its issuer"))...)
		}
		k.mu.Lock()
		if k.certs[j.i].pair == j.pair {
			k.certs[j.i].staple = s
			k.publish()
		}
		k.mu.Unlock()
	}
}

// renew asks the responder and returns the new state. A failure keeps what was
// known.
func (s staple) renew(ctx context.Context, p *pair) staple {
	der, answer, err := askResponder(ctx, p)
	now := time.Now()
	switch {
	case err != nil:
		s.problem = err.Error()
	case answer.Status == ocsp.Revoked:
		return staple{revoked: true, next: now.Add(ocspMost)}
	case answer.Status != ocsp.Good:
		s.problem = "the responder does not know the certificate"
	case now.Before(answer.ThisUpdate.Add(-5 * time.Minute)):
		s.problem = "the answer is of the future"
	case answer.NextUpdate.IsZero() || !now.Before(answer.NextUpdate):
		s.problem = "the answer is too old"
	default:
		half := answer.ThisUpdate.Add(answer.NextUpdate.Sub(answer.ThisUpdate) / 2)
		next := later(now.Add(ocspRetry), half)
		if most := now.Add(ocspMost); next.After(most) {
			next = most
		}
		return staple{der: der, nextUpdate: answer.NextUpdate, next: next}
	}
	s.next = now.Add(min(ocspRetry<<min(s.failures, 6), time.Hour))
	s.failures++
	return s
}

// The reasons for which there is no answer. The texts of x/crypto/ocsp and
// net/http are not used: they can quote what came over the network.
var (
	errOCSPChain   = errors.New("the chain lacks the issuer, which an OCSP request must name")
	errOCSPURL     = errors.New("the responder's URL is neither http nor https")
	errOCSPRequest = errors.New("no request could be made")
	errOCSPReach   = errors.New("the responder cannot be reached")
	errOCSPStatus  = errors.New("the responder answered with an error")
	errOCSPInvalid = errors.New("the answer is not a valid one for this certificate")
)

func askResponder(ctx context.Context, p *pair) (der []byte, answer *ocsp.Response, err error) {
	if len(p.chain) < 2 {
		return nil, nil, errOCSPChain
	}
	u, err := url.Parse(p.responder())
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, nil, errOCSPURL
	}
	hash := crypto.SHA1 // names the issuer, protects nothing; many responders know no other (RFC 5019)
	if fips140.Enforced() {
		hash = crypto.SHA256
	}
	ask, err := ocsp.CreateRequest(p.leaf(), p.chain[1], &ocsp.RequestOptions{Hash: hash})
	if err != nil {
		return nil, nil, errOCSPRequest
	}
	ctx, cancel := context.WithTimeout(ctx, ocspTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(ask))
	if err != nil {
		return nil, nil, errOCSPRequest
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	req.Header.Set("Accept", "application/ocsp-response")
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10}
	client := http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return nil, nil, errOCSPReach
	}
	defer res.Body.Close()
	der, err = io.ReadAll(io.LimitReader(res.Body, ocspMaxBytes+1))
	if err != nil {
		return nil, nil, errOCSPReach
	}
	if res.StatusCode != http.StatusOK || len(der) > ocspMaxBytes {
		return nil, nil, errOCSPStatus
	}
	answer, err = ocsp.ParseResponseForCert(der, p.leaf(), p.chain[1])
	if err != nil || answer.Certificate != nil && !delegated(answer.Certificate, p.chain[1]) {
		return nil, nil, errOCSPInvalid
	}
	return der, answer, nil
}

// delegated reports whether the issuer lets signer answer for it (RFC 6960
// section 4.2.2.2). x/crypto/ocsp checks the signature on it alone, so any
// certificate of the CA could sign answers.
func delegated(signer, issuer *x509.Certificate) bool {
	if signer.Equal(issuer) {
		return true
	}
	now := time.Now()
	return slices.Contains(signer.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) && !now.Before(signer.NotBefore) && !now.After(signer.NotAfter)
}
