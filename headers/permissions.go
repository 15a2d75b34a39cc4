package headers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/inovy/hardening/internal/faults"
)

// Feature is a browser feature that Permissions-Policy controls, for example
// "camera".
type Feature string

// Permission says who may use a feature in our pages.
type Permission struct {
	Feature Feature
	// Allow lists "self" and origins ("https://meet.example"), or "*" alone.
	// nil = nobody.
	Allow []string
	// Unlisted accepts a feature name that this package does not know yet,
	// which would else be taken for a typing error.
	Unlisted bool
}

// Deny returns a Permission for nobody for each feature.
func Deny(features ...Feature) []Permission {
	ps := make([]Permission, len(features))
	for i, f := range features {
		ps[i].Feature = f
	}
	return ps
}

// permissionsPolicy renders the header as the structured field that W3C
// Permissions Policy section 5.2 asks for.
func permissionsPolicy(ps []Permission) string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(p.Feature))
		if len(p.Allow) == 1 && p.Allow[0] == "*" {
			b.WriteString("=*")
			continue
		}
		b.WriteString("=(")
		for j, a := range p.Allow {
			if j > 0 {
				b.WriteByte(' ')
			}
			if a == "self" {
				b.WriteString(a)
			} else {
				b.WriteString(`"` + a + `"`)
			}
		}
		b.WriteByte(')')
	}
	return b.String()
}

func validatePermissions(ps []Permission, f *faults.Collector) {
	if ps != nil && len(ps) == 0 {
		f.Missing("Permissions", "is empty but not nil", `leave it nil for the default, or write headers.Deny("camera")`)
	}
	seen := map[Feature]bool{}
	for i, p := range ps {
		field := fmt.Sprintf("Permissions[%d].", i)
		switch {
		case !featureToken(string(p.Feature)):
			f.Add(field+"Feature", p.Feature, "is not a feature name: lower-case letters, digits and '-' only", `write it as in "camera"`)
		case !p.Unlisted && !isFeature(p.Feature):
			fix := "correct it, or set Unlisted if the feature is newer than this package"
			if n := nearest(string(p.Feature), featureNames); n != "" {
				fix = fmt.Sprintf("write %q, or set Unlisted if the feature is newer than this package", n)
			}
			f.Add(field+"Feature", p.Feature, "is not a known feature", fix)
		case seen[p.Feature]:
			f.Add(field+"Feature", p.Feature, "is listed twice, and browsers keep one of the two", "keep one")
		}
		seen[p.Feature] = true
		if p.Allow != nil && len(p.Allow) == 0 {
			f.Missing(field+"Allow", "is empty but not nil", "leave it nil to allow nobody")
		}
		for j, a := range p.Allow {
			at := fmt.Sprintf("%sAllow[%d]", field, j)
			switch {
			case a == "self":
			case a == "*":
				if len(p.Allow) > 1 {
					f.Add(at, a, "makes the other entries meaningless", `write "*" alone, or drop it`)
				}
			default:
				if reason := originFault(a, "https"); reason != "" {
					f.Add(at, a, reason, `write "self", or an origin as in "https://meet.example"`)
				}
			}
		}
	}
}

func featureToken(s string) bool {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func isFeature(f Feature) bool {
	return slices.Contains(featureNames, string(f))
}

// featureNames are the features of the W3C registry and those that browsers
// ship or once shipped (webappsec-permissions-policy, features.md).
var featureNames = []string{
	"accelerometer", "all-screens-capture", "ambient-light-sensor", "aria-notify", "attribution-reporting",
	"autofill", "autoplay", "battery", "bluetooth", "browsing-topics", "camera", "captured-surface-control",
	"clipboard-read", "clipboard-write", "compute-pressure", "controlled-frame", "cross-origin-isolated",
	"deferred-fetch", "deferred-fetch-minimal", "device-attributes", "digital-credentials-create",
	"digital-credentials-get", "direct-sockets", "direct-sockets-private", "display-capture", "document-domain",
	"encrypted-media", "execution-while-not-rendered", "execution-while-out-of-viewport", "focus-without-user-activation",
	"fullscreen", "gamepad", "geolocation", "gyroscope", "hid", "identity-credentials-get", "idle-detection",
	"interest-cohort", "join-ad-interest-group", "keyboard-map", "language-detector", "language-model",
	"local-fonts", "local-network", "local-network-access", "loopback-network", "magnetometer", "manual-text",
	"media-playback-while-not-visible", "microphone", "midi", "navigation-override", "on-device-speech-recognition",
	"otp-credentials", "payment", "picture-in-picture", "private-aggregation", "private-state-token-issuance",
	"private-state-token-redemption", "proofreader", "publickey-credentials-create", "publickey-credentials-get",
	"rewriter", "run-ad-auction", "screen-wake-lock", "serial", "shared-storage", "shared-storage-select-url",
	"smart-card", "speaker-selection", "storage-access", "sub-apps", "summarizer", "sync-script", "sync-xhr",
	"translator", "unload", "usb", "usb-unrestricted", "vertical-scroll", "web-app-installation", "web-share",
	"window-management", "writer", "xr-spatial-tracking",
}
