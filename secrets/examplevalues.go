package secrets

import (
	"bytes"
	"slices"

	"github.com/inovy/hardening"
)

// published holds the FNV-1a sums of values that stand in documentation and in
// emulators, and so in everybody's copies of them, by the length of their
// canonical spelling. They look as strong as any: only a list knows them. Sums
// keep the values themselves out of this source, where scanners would find them.
var published = map[int][]uint64{
	20:  {0x0e627699b98376d0},                                         // AWS, access key id
	40:  {0x7699c294beebad32},                                         // AWS, secret access key
	32:  {0xa802841bc1de9dc4, 0xf888f406a3e07397, 0x25244290a04c7cc1}, // Stripe, test keys
	155: {0xc7fca7a9ee94cf13},                                         // jwt.io, token
	38:  {0x55a6146201f5ed6f},                                         // jwt.io, HMAC secret
	43:  {0x744b69873211b4a7, 0x4e0d59e401b0b4fc},                     // Airflow images and the Fernet specification
	86: {
		0x53cc84ad98b2bdfd, // Azure storage emulator
		0xaa680b02af0071e7, // Azure Cosmos DB emulator
		0xf486efe34a7b672a, // RFC 7515, appendix A.1
	},
}

// publishedLength says which lengths are in published, up to 255. It is never
// changed.
var publishedLength = func() (t [256]bool) {
	for n := range published {
		if n < len(t) {
			t[n] = true
		}
	}
	return t
}()

// isPublished reports whether everybody can read text somewhere. Spellings of
// one base64 text count as one.
func isPublished(text []byte) bool {
	text, _ = bytes.CutPrefix(text, []byte("base64:"))
	for len(text) > 0 && text[len(text)-1] == '=' {
		text = text[:len(text)-1]
	}
	if len(text) < len(publishedLength) && !publishedLength[len(text)] {
		return false
	}
	if len(text) == 43 && text[0] != '4' && text[0] != 'c' { // 256 bits in base64, which most keys and many tokens are
		return false
	}
	sums := published[len(text)]
	if sums == nil {
		return false
	}
	sum := uint64(0xcbf29ce484222325)
	for _, c := range text {
		switch c {
		case '-':
			c = '+'
		case '_':
			c = '/'
		}
		sum = (sum ^ uint64(c)) * 0x100000001b3
	}
	return slices.Contains(sums, sum)
}

// world is what the beginning of a token says about where it is valid.
type world uint8

const (
	liveWorld   world = iota // moves real money, real patients' data
	testWorld                // moves nothing
	publicWorld              // is in every browser anyway
)

// worlds lists the beginnings by which vendors tell them apart: Stripe and who
// followed it, Razorpay, Mollie, Plaid, Braintree, Checkout.com, Square,
// Supabase, Mapbox and PostHog.
var worlds = []struct {
	prefix string
	world  world
}{
	{"sk_live_", liveWorld}, {"rk_live_", liveWorld}, {"rzp_live_", liveWorld}, {"live_", liveWorld},
	{"access-production-", liveWorld}, {"access_token$production$", liveWorld},
	{"sk_test_", testWorld}, {"rk_test_", testWorld}, {"rzp_test_", testWorld}, {"test_", testWorld},
	{"sk_sbox_", testWorld}, {"access-sandbox-", testWorld}, {"access_token$sandbox$", testWorld}, {"sandbox-sq0", testWorld},
	{"pk_live_", publicWorld}, {"pk_test_", publicWorld}, {"pk_sbox_", publicWorld}, {"sb_publishable_", publicWorld},
	{"pk.eyJ", publicWorld}, {"phc_", publicWorld},
}

// worldly says with which bytes a token begins that has a world. It is never
// changed.
var worldly = func() (t [256]bool) {
	for _, w := range worlds {
		t[w.prefix[0]] = true
	}
	t['p'] = true // pk_
	return t
}()

// checkWorld returns what is wrong with a token in an environment, by its
// beginning. Of other texts that begin with pk_ only those pass whose tag says
// so: some vendors name their private keys like that.
func (f *field) checkWorld(b []byte, env hardening.Environment) *flaw {
	if len(b) == 0 || !worldly[b[0]] { // as most tokens
		return nil
	}
	for _, w := range worlds {
		if !bytes.HasPrefix(b, []byte(w.prefix)) {
			continue
		}
		switch {
		case w.world == publicWorld:
			return publicKey()
		case w.world == liveWorld && env == hardening.Development:
			return &flaw{reason: "is valid in production, by its beginning, and does not belong into Development", fix: "use its issuer's test key"}
		case w.world == testWorld && env == hardening.Production:
			return &flaw{reason: "is a test key, by its beginning, in Production", fix: "use its issuer's live key"}
		}
		return nil
	}
	if bytes.HasPrefix(b, []byte("pk_")) && f.prefix == "" {
		return publicKey()
	}
	return nil
}

func publicKey() *flaw {
	return &flaw{reason: "is a public key, as browsers get it, and not a secret", fix: "put the secret that belongs to it here, and the public one into a public setting"}
}
