// Package secrets loads what a service must keep to itself, proves that it is
// strong, tells how old it is, and never shows it.
//
// Declare what the service needs, once, and load it at the start:
//
//	var cfg struct {
//		Session *secrets.Ring  `secret:"SESSION_KEY,kind=key,bits=256,maxage=90d,grace=7d"`
//		OpenAI  *secrets.Live  `secret:"OPENAI_API_KEY,kind=token,prefix=sk-,minlen=20"` // follows its file
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
//	public         not a secret: string, integer, bool or time.Duration; default= may follow, without commas
//	bits=256       for kind=key: a multiple of 8, at least 256
//	maxage=90d     age from which the secret is overdue (default 90d); due from 5/6 of it (75 days)
//	maxage=0       no maximum age; then reason= says why, without commas, and a finding repeats it
//	grace=7d       Ring: how long a superseded key still opens
//	activate=10m   Ring: how long a new key only opens, so that every node knows it before one uses it
//	optional       may be missing (not for a Ring); then the field stays zero, a *Live nil, until the next Load
//
// A validate tag is handed to github.com/go-playground/validator/v10; what it
// finds comes back as [hardening.ConfigError] that names field and rule only.
//
// # Sources
//
// [Options.Sources] are asked in order; the default is [Systemd],
// [Dir]("/run/secrets"), [Env], which stands for NAME_FILE and NAME. There are
// also [DotEnv] for development, [Encrypted] files (package agefile) and [From]
// for whatever is a [Provider]; the example of Provider is HashiCorp's Vault.
// The same name may have the same value in several sources (the first is
// reported); different values are a fault, never a silent choice. An empty value
// is a missing value. Exactly one trailing newline is cut off; any other white
// space at the edges of a key, token or URL is a fault, and so is a control
// character, a NUL, a byte-order mark and text that is not UTF-8.
//
// # Rotation while the service runs
//
// A [Secret] field keeps what was loaded. A *[Live] field and a *[Ring] follow
// the file or provider they came from: the Loader compares contents every
// [Options.PollInterval], waits until a change stands still, checks it by all
// rules of a load, tells [Options.Audit], and then takes it over. The files of
// one directory, and the values of one provider, change together or not at all;
// read what belongs together with [Together]. A Secret field of such a pair
// keeps the old half while a Live takes the new one: the other Lives of a
// directory do not wait for a restart with it, but the record, the report and a
// finding name both; make both halves Lives. What breaks a rule changes
// nothing: the last good value stays, Check says so, and the next look tries again.
// [Loader.Subscribe] tells when to open new connections, [Loader.Reload] looks at
// once. What came from the environment can not change: mount what shall rotate.
//
// # The environment
//
// When Load succeeds it takes the secrets it found there out of the environment
// of the process, and on Linux out of /proc/self/environ. So the same name can be
// loaded from the environment once: load it into one struct and pass that on, or
// set [Options.DangerouslyKeepEnvironment]. A Load that fails leaves everything
// as it was. Public settings and NAME_FILE stay.
//
// # Strength
//
// A key is decoded and its bytes are looked at: their number, repetitions,
// steps, readable text, and whether its letters read as a sentence. Tokens and
// passwords are compared with placeholders and with values that stand in public
// documentation. A token that begins as its vendor's live keys do is refused in
// Development, one that begins as a test key in Production, and a public key
// (pk_live_) everywhere. Two fields with one value are a fault.
//
// # Rotation
//
// [Loader.Report] tells the age of every secret, what proves it and what state
// it is in; [Loader.Check] has findings about them. Date a secret where it
// stands: v2@2026-11-01:KEY in a ring, NAME_CREATED_AT or a file NAME.meta
// beside others; tokens, certificates and vaults bring their dates along. An age
// that nothing proves is reported as unproven, never as young. [Options.Ledger]
// remembers when values were first seen, through restarts, and finds dates that
// were changed without the value; without it a key that a restart brings to a
// Ring is used by its written date, at once if that is old. When a secret becomes due or overdue, the
// records secret_due and secret_overdue go to Audit, once, and subscribers hear
// of it.
//
// # Tools
//
// [Example] writes a .env.example from the struct and [CheckExample] finds where
// the two have drifted apart; [Generate] makes a key; [Scan] finds secrets that
// were committed, but for lines with [AllowMarker] and files that the caller
// allows, and [CheckURL] those in a URL. The program cmd/hardening has
// the first four for people without a Go program: it reads the struct from the
// source, so that nothing need be built or run, and can not see structs of other
// packages; a test that calls CheckExample can.
//
// # Threat model
//
// Kept out: secrets in logs, error texts, dumps, templates, encoders and
// reflection walks (a [Secret] has no reader but [Expose] and [Secret.Use]);
// secrets that children inherit or /proc shows; half-written and mixed files;
// weak, placeholder, truncated, doubled and redacted values; files that others
// may write or read; keys that live for ever; a key of one purpose used for
// another. Not kept out: code in this process that calls Expose, a debugger or
// a core dump, whoever may read the source of the secret. An exposed string
// can not be wiped, nor can the copies that the Go runtime made of the
// environment at the start. Development relaxes four rules only, and each use
// of them is a failing finding: dotenv files, files readable by everyone, files
// that another user can replace, and short or placeholder passwords, tokens and
// URLs. Keys are checked alike
// everywhere.
package secrets
