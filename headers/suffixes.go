package headers

import (
	"slices"
	"strings"
)

// publicSuffix reports whether strangers can register names below a domain of
// two labels or more. It knows the common ones only, by no means the whole of
// the Public Suffix List (publicsuffix.org), which this package does not link:
// what it lets through is not proven to be one owner's. Package headers/cors,
// where a mistake gives answers away, has the whole list.
func publicSuffix(domain string) bool {
	if slices.Contains(sharedHosting, domain) {
		return true
	}
	second, top, ok := strings.Cut(domain, ".")
	return ok && slices.Contains(registries[top], second)
}

// registries are second levels of countries that register names below them.
var registries = map[string][]string{
	"uk": {"ac", "co", "gov", "ltd", "me", "net", "nhs", "org", "plc", "police", "sch"},
	"au": {"asn", "com", "edu", "gov", "id", "net", "org"},
	"nz": {"ac", "co", "geek", "gen", "govt", "iwi", "kiwi", "maori", "net", "org", "school"},
	"jp": {"ac", "ad", "co", "ed", "go", "gr", "lg", "ne", "or"},
	"kr": {"ac", "co", "go", "ne", "or", "pe", "re"},
	"in": {"ac", "co", "edu", "firm", "gen", "gov", "ind", "net", "nic", "org", "res"},
	"za": {"ac", "co", "edu", "gov", "law", "net", "nom", "org", "web"},
	"br": {"com", "edu", "gov", "net", "org"},
	"cn": {"ac", "com", "edu", "gov", "net", "org"},
	"tw": {"com", "edu", "gov", "idv", "net", "org"},
	"hk": {"com", "edu", "gov", "idv", "net", "org"},
	"sg": {"com", "edu", "gov", "net", "org", "per"},
	"my": {"com", "edu", "gov", "net", "org"},
	"tr": {"com", "edu", "gen", "gov", "k12", "net", "org", "web"},
	"mx": {"com", "edu", "gob", "net", "org"},
	"ar": {"com", "edu", "gob", "net", "org"},
	"il": {"ac", "co", "gov", "k12", "net", "org"},
	"id": {"ac", "co", "go", "net", "or", "sch", "web"},
	"th": {"ac", "co", "go", "in", "net", "or"},
	"pl": {"com", "edu", "gov", "net", "org"},
	"ua": {"com", "edu", "gov", "net", "org"},
	"at": {"ac", "co", "gv", "or"},
	"hu": {"co", "info", "org"},
}

// sharedHosting are domains whose operators give their customers names below
// them.
var sharedHosting = []string{
	"github.io", "gitlab.io", "githubusercontent.com", "pages.dev", "workers.dev", "r2.dev", "netlify.app", "vercel.app", "now.sh",
	"herokuapp.com", "fly.dev", "onrender.com", "surge.sh", "glitch.me", "repl.co", "web.app", "firebaseapp.com",
	"appspot.com", "run.app", "a.run.app", "cloudfunctions.net", "blogspot.com", "azurewebsites.net", "azurestaticapps.net", "azureedge.net",
	"cloudapp.net", "trafficmanager.net", "core.windows.net", "blob.core.windows.net", "web.core.windows.net", "cloudfront.net", "amazonaws.com", "s3.amazonaws.com",
	"compute.amazonaws.com", "elb.amazonaws.com", "elasticbeanstalk.com", "amplifyapp.com", "ondigitalocean.app", "digitaloceanspaces.com",
	"myshopify.com", "wordpress.com", "ngrok.io", "ngrok.app", "ngrok-free.app", "trycloudflare.com", "deno.dev", "supabase.co",
	"readthedocs.io", "sourceforge.io", "bitbucket.io", "uk.com", "eu.org", "duckdns.org", "no-ip.org", "dyndns.org", "nip.io", "sslip.io",
}
