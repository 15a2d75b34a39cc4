package headers

import (
	"crypto/sha512"
	"encoding/base64"
	"io/fs"
)

// HashInline returns the source that lets exactly this inline script or style
// run: the text between the tags, spaces and line breaks included (CSP Level 3
// section 6.7.3.3). It suits pages that are cached or served as files, where
// no nonce can be. Browsers run a hash beside [StrictDynamic] too.
func HashInline(text []byte) Source {
	return Source("'" + digest(text) + "'")
}

// SRI returns the value of the integrity attribute of a script or style sheet
// (W3C Subresource Integrity), from the file as it is served:
// <script src="/app.js" integrity="{{.}}">. The same text in quotes is a CSP
// source. Its error is that of reading the file.
func SRI(fsys fs.FS, name string) (string, error) {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return "", err
	}
	return digest(b), nil
}

// digest is SHA-384, the hash that the SRI specification recommends.
func digest(b []byte) string {
	sum := sha512.Sum384(b)
	return "sha384-" + base64.StdEncoding.EncodeToString(sum[:])
}
