package headers

import "time"

// Web is the default, for applications that serve HTML: HSTS of one year,
// DENY, nosniff, strict-origin-when-cross-origin, no geolocation, microphone
// or camera, and a CSP under which only scripts with the response's nonce run,
// and those they load. It may be changed before it is given to [New].
func Web() Config {
	return Config{
		HSTS: HSTS{MaxAge: year, IncludeSubDomains: true},
		CSP: CSP{
			DefaultSrc:              []Source{None},
			ScriptSrc:               []Source{NonceSource, StrictDynamic},
			StyleSrc:                []Source{Self},
			ImgSrc:                  []Source{Self},
			FontSrc:                 []Source{Self},
			ConnectSrc:              []Source{Self},
			ManifestSrc:             []Source{Self},
			ObjectSrc:               []Source{None},
			BaseURI:                 []Source{None},
			FormAction:              []Source{Self},
			FrameAncestors:          []Source{None},
			UpgradeInsecureRequests: true,
		},
		FrameOptions:   FrameDeny,
		ReferrerPolicy: StrictOriginWhenCrossOrigin,
		Permissions:    Deny("geolocation", "microphone", "camera"),
		COOP:           COOPSameOrigin,
		CORP:           CORPSameOrigin,
		CacheControl:   "no-store, max-age=0",
	}
}

// Strict is [Web] with the values of the OWASP Secure Headers Project: HSTS of
// two years, no referrer at all, 28 browser features off, cross-origin
// isolation, and Trusted Types, under which code that writes strings into DOM
// sinks stops working.
func Strict() Config {
	c := Web()
	c.HSTS.MaxAge = 63072000 * time.Second
	c.CSP.RequireTrustedTypes = true
	c.ReferrerPolicy = NoReferrer
	c.COEP = COEPRequireCORP
	c.NoDNSPrefetch = true
	c.Permissions = append(
		Deny("accelerometer", "autoplay", "camera", "cross-origin-isolated", "display-capture", "encrypted-media",
			"fullscreen", "geolocation", "gyroscope", "keyboard-map", "magnetometer", "microphone", "midi", "payment",
			"picture-in-picture", "publickey-credentials-get", "screen-wake-lock"),
		Permission{Feature: "sync-xhr", Allow: []string{"self"}})
	c.Permissions = append(c.Permissions,
		Deny("usb", "web-share", "xr-spatial-tracking", "clipboard-read", "clipboard-write", "gamepad", "hid",
			"idle-detection", "interest-cohort", "serial")...)
	return c
}

// API is for services that answer data, never documents: the policy allows
// nothing and sandboxes a response that a browser shows anyway (OWASP REST
// security cheat sheet, ASVS v5.0.0-3.2.1). It needs no nonce.
func API() Config {
	c := Web()
	c.ReferrerPolicy = NoReferrer
	c.CSP = CSP{
		DefaultSrc:     []Source{None},
		ObjectSrc:      []Source{None},
		BaseURI:        []Source{None},
		FormAction:     []Source{None},
		FrameAncestors: []Source{None},
		Sandbox:        Sandbox{On: true},
	}
	return c
}
