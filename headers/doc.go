// Package headers sends the security headers of a web application or API:
// Strict-Transport-Security, a nonce-based Content-Security-Policy,
// Permissions-Policy and the rest of the OWASP Secure Headers set. It also
// refuses cross-site requests ([Isolation]) and foreign hosts ([HostCheck]),
// turns panics into clean answers ([Middleware.Recover]), sends plain HTTP to
// HTTPS ([RedirectHTTPS]), collects browsers' reports ([ReportCollector]),
// serves files without what lies there by mistake ([Static]) and judges any
// response by published rules ([Audit], [AuditPage]). Package headers/cors shares answers
// with other sites, and headers/headerstest asserts the headers in tests.
//
//	policy, err := headers.New(headers.Config{}) // behaves as headers.Web()
//	if err != nil {
//		log.Fatal(err) // names every fault of the Config
//	}
//	h := policy.Wrap(policy.Recover(mux))
//
// In a template, every script needs the nonce of the response:
//
//	<script {{.Nonce}} src="/app.js"></script>
//	// with Nonce: headers.NonceAttr(r.Context())
//
// A route with other needs gets a policy of its own, derived from the resolved
// Config and validated again:
//
//	assets, err := policy.With("assets", func(c *headers.Config) {
//		c.CSP = headers.API().CSP // static files run nothing
//		c.CacheControl = "public, max-age=31536000, immutable"
//	})
//	mux.Handle("GET /assets/", assets.Wrap(files))
//
// A stricter policy can be tried out before it is enforced:
//
//	cfg := headers.Web()
//	cfg.ReportEndpoints = []headers.ReportEndpoint{{Name: "csp", URL: "/_reports"}}
//	cfg.CSP.ReportTo, cfg.CSP.ReportURI = "csp", []string{"/_reports"}
//	cfg.ReportOnly = headers.Strict().CSP
//	cfg.ReportOnly.UpgradeInsecureRequests = false // cannot be tried out
//	cfg.ReportOnly.ReportTo, cfg.ReportOnly.ReportURI = "csp", []string{"/_reports"}
//	mux.Handle("/_reports", collector) // from headers.NewReportCollector
//
// A derived policy inherits it with its nonce, so that of cacheable files sets
// c.ReportOnly = headers.CSP{}.
//
// # Order
//
// Wrap outermost first: hardening.Edge, then [Middleware.Wrap], then
// [Middleware.Recover], then [HostCheck.Wrap], [Isolation.Wrap], then sessions,
// limits and the mux, and package cors around the routes that are shared. What
// runs outside Wrap answers without the headers: put http.TimeoutHandler
// inside, set http.Server.DisableGeneralOptionsHandler so that "OPTIONS *"
// reaches the handler, and know that the answers net/http itself gives to
// malformed requests (400, 431) carry none.
//
// Use [Middleware.Enforce] instead of Wrap around handlers that remove headers
// or add their own: reverse proxies (with [Middleware.SanitizeUpstream]),
// http.FileServer, and pages with both a nonce and an ETag, whose 304 must not
// carry a new nonce.
//
// # Threat model
//
// The attacker serves another site to the same browser, injects markup into
// our pages, sits on the network before the first HTTPS visit, or sends any
// bytes as a client. Guarded: script injection (nonce CSP), framing, MIME
// sniffing, referrer leaks, downgrade to HTTP (HSTS), cross-site writes and
// WebSocket hijacking (Isolation), secrets in error pages (Recover), one
// request's headers leaking into another's (no slice is shared).
// Not guarded: a handler that deliberately changes its own headers, a browser
// that ignores them, and the very first plain-HTTP visit to a host that is not
// preloaded. Scheme and host come from hardening.ClientOf alone, so a client
// cannot claim TLS with X-Forwarded-Proto.
package headers
