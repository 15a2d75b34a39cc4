// Package secrets loads what a service must keep to itself, proves that it is
// strong, tells how old it is, and never shows it.
//
// Declare what the service needs, once, and load it at the start:
//
//	var cfg struct {
//		Session *secrets.Ring  `secret:"SESSION_KEY,kind=key,bits=256,maxage=90d,grace=7d"`
//		OpenAI  secrets.Secret `secret:"OPENAI_API_KEY,kind=token,prefix=sk-,minlen=20"`
//		DB      secrets.Secret `secret:"DATABASE_URL,kind=url"`
//		Region  string         `secret:"AWS_REGION,public" validate:"oneof=eu-west-1 eu-central-1"`
//	}
//	loader, err := secrets.Load(ctx, &cfg, secrets.Options{}) // err names every fault
//	defer loader.Close()                                      // wipes
//
// Load comes first in main: the other rooms take their keys from a [Ring].
//
// # Tags
//
// The first word of a secret tag is the name to look up. Everything is
// required unless the tag says otherwise. After the name:
//
//	kind=key       hex or base64 text of at least bits random bits (Ring: always)
//	kind=token     an opaque token; prefix= and minlen= (default 20 bytes)
//	kind=password  prefix= and minlen= (default 15 bytes, NIST SP 800-63B-4)
//	kind=url       a URL with scheme and host, the password inside it
//	kind=pem       one or more PEM blocks and nothing else
//	public         not a secret: string, integer, bool or time.Duration; default= may follow
//	bits=256       for kind=key: a multiple of 8, at least 256
//	maxage=90d     age from which the secret is overdue; due from 5/6 of it (75 days)
//	grace=7d       Ring: how long a superseded key still opens
//	activate=10m   Ring: how long a new key only opens, so that every node knows it before one uses it
//	optional       may be missing (not for a Ring)
//
// A validate tag is handed to github.com/go-playground/validator/v10; what it
// finds comes back as [hardening.ConfigError] that names field and rule only.
//
// # Sources
//
// [Options.Sources] are asked in order; the default is Dir("/run/secrets"),
// Env(). The same name may have the same value in several of them (the first
// is reported); different values are a fault, never a silent choice. An empty
// value is a missing value. Exactly one trailing newline is cut off; any other
// white space at the edges of a key, token or URL is a fault, and so is a
// control character, a NUL, a byte-order mark and text that is not UTF-8.
//
// # Sealing
//
// [Ring.Seal] and [Ring.Open] protect what leaves the process and comes back,
// bound to what it is and whose; [Ring.Column] does so for a column of a
// database, bound to the row. Both say when a text should be sealed again
// because its key will retire: do it before the grace time is over, or set
// grace= as long as such texts live.
//
// # Threat model
//
// Kept out: secrets in logs, error texts, dumps, templates, encoders and
// reflection walks (a [Secret] has no reader but [Expose] and [Secret.Use]);
// weak, placeholder, truncated, doubled and redacted values; files that others
// may write or read; keys that live for ever; a key of one purpose used for
// another. Not kept out: code in this process that calls Expose, a debugger or
// a core dump, whoever may read the source of the secret. An exposed string
// can not be wiped. Development relaxes two rules only, and each use of them is
// a failing finding: files readable by everyone, and short or placeholder
// passwords, tokens and URLs. Keys are checked alike everywhere.
package secrets
