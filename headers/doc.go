// Package headers sends the security headers of a web application or API:
// Strict-Transport-Security, a nonce-based Content-Security-Policy,
// Permissions-Policy and the rest of the OWASP Secure Headers set. It also
// refuses cross-site requests ([Isolation]), turns panics into clean answers
// ([Middleware.Recover]) and sends plain HTTP to HTTPS ([RedirectHTTPS]).
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
// # Order
//
// Wrap outermost first: hardening.Edge, then [Middleware.Wrap], then
// [Middleware.Recover], then [Isolation.Wrap], then sessions, limits and the
// mux. What runs outside Wrap answers without the headers: put
// http.TimeoutHandler inside, set http.Server.DisableGeneralOptionsHandler so
// that "OPTIONS *" reaches the handler, and know that the answers net/http
// itself gives to malformed requests (400, 431) carry none.
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
