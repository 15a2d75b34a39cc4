package headers

import "net/http"

// SanitizeUpstream is a ModifyResponse for net/http/httputil.ReverseProxy. It
// removes from an upstream's answer the headers that m's policy decides, which
// would else stand there twice, those that tell attackers what runs behind the
// proxy, and those that browsers no longer heed or that weaken them. It never
// fails.
//
//	proxy := &httputil.ReverseProxy{Rewrite: rewrite, ModifyResponse: policy.SanitizeUpstream}
//	h := policy.Enforce(proxy)
//
// Enforce, because ReverseProxy clears every header, the policy's too, after an
// informational answer (1xx) of the upstream.
//
// Whether the upstream's answer may be cached is for the policy's CacheControl
// to say.
func (m *Middleware) SanitizeUpstream(res *http.Response) error {
	for _, k := range managed {
		delete(res.Header, k)
	}
	for _, k := range telltale {
		res.Header.Del(k)
	}
	for _, k := range obsolete {
		res.Header.Del(k)
	}
	return nil
}

// obsolete are headers that browsers ignore, or that were found to weaken them.
var obsolete = []string{"X-Xss-Protection", "Expect-Ct", "Public-Key-Pins", "Public-Key-Pins-Report-Only", "Feature-Policy", "X-Content-Security-Policy", "X-Webkit-Csp", "Report-To"}

// telltale are the headers that the OWASP Secure Headers Project wants removed
// because they name products, versions or internals (its headers_remove.json).
var telltale = []string{
	"$wsep", "Host-Header", "K-Proxy-Request", "Liferay-Portal", "OracleCommerceCloud-Version", "Pega-Host", "Powered-By", "Product",
	"Server", "SourceMap", "X-AspNet-Version", "X-AspNetMvc-Version", "X-Atmosphere-error", "X-Atmosphere-first-request",
	"X-Atmosphere-tracking-id", "X-B3-ParentSpanId", "X-B3-Sampled", "X-B3-SpanId", "X-B3-TraceId", "X-BEServer", "X-Backside-Transport",
	"X-CF-Powered-By", "X-CMS", "X-CalculatedBETarget", "X-Cocoon-Version", "X-Content-Encoded-By", "X-DiagInfo", "X-Envoy-Attempt-Count",
	"X-Envoy-External-Address", "X-Envoy-Internal", "X-Envoy-Original-Dst-Host", "X-Envoy-Upstream-Service-Time", "X-FEServer",
	"X-Framework", "X-Generated-By", "X-Generator", "X-Jitsi-Release", "X-Joomla-Version", "X-Kubernetes-PF-FlowSchema-UI",
	"X-Kubernetes-PF-PriorityLevel-UID", "X-LiteSpeed-Cache", "X-LiteSpeed-Purge", "X-LiteSpeed-Tag", "X-LiteSpeed-Vary",
	"X-Litespeed-Cache-Control", "X-Mod-Pagespeed", "X-Nextjs-Cache", "X-Nextjs-Matched-Path", "X-Nextjs-Page", "X-Nextjs-Redirect",
	"X-OWA-Version", "X-Old-Content-Length", "X-OneAgent-JS-Injection", "X-Page-Speed", "X-Php-Version", "X-Powered-By",
	"X-Powered-By-Plesk", "X-Powered-CMS", "X-Redirect-By", "X-Runtime", "X-Server-Powered-By", "X-SourceFiles", "X-SourceMap",
	"X-Turbo-Charged-By", "X-Umbraco-Version", "X-Varnish-Backend", "X-Varnish-Server", "X-dtAgentId", "X-dtHealthCheck",
	"X-dtInjectedServlet", "X-ruxit-JS-Agent",
}
