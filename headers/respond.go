package headers

import (
	"mime"
	"net/http"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// SiteData is what [ClearSiteData] tells the browser to forget.
type SiteData string

// The types of Clear-Site-Data (W3C).
const (
	ClearCache             SiteData = `"cache"`
	ClearCookies           SiteData = `"cookies"`
	ClearStorage           SiteData = `"storage"`
	ClearExecutionContexts SiteData = `"executionContexts"` // reloads the site's other tabs
	ClearClientHints       SiteData = `"clientHints"`
	ClearEverything        SiteData = `"*"`
)

// ClearSiteData tells the browser to forget what this origin has stored there,
// as after a logout (ASVS v5.0.0-14.3.1). Without types: cache, cookies and
// storage. Call it before the first byte; browsers heed it over HTTPS only.
// A logout by package session sends the same by itself.
// [ClearCache] can take browsers seconds, and [ClearCookies] also removes the
// cookies of parent domains.
func ClearSiteData(w http.ResponseWriter, types ...SiteData) {
	if len(types) == 0 {
		types = []SiteData{ClearCache, ClearCookies, ClearStorage}
	}
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = string(t)
	}
	w.Header()["Clear-Site-Data"] = []string{strings.Join(names, ",")}
}

// NoStore keeps a response out of every cache (ASVS v5.0.0-14.3.2), on a route
// whose policy lets others be cached. It also removes what lets a browser ask
// whether its copy is still good.
func NoStore(w http.ResponseWriter) {
	h := w.Header()
	for _, k := range []string{"Expires", "Etag", "Last-Modified", "Age"} {
		delete(h, k)
	}
	h["Cache-Control"] = []string{"no-store, max-age=0"}
}

// Attachment prepares a response for a file that somebody uploaded: it is
// saved and not shown, its type is not guessed, and a browser that shows it
// anyway runs nothing of it and gives it no origin. Set Content-Type yourself;
// "application/octet-stream" is set if there is none.
func Attachment(w http.ResponseWriter, filename string) {
	h := w.Header()
	h["Content-Disposition"] = []string{ContentDisposition(filename)}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Content-Security-Policy"] = []string{"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"}
	if len(h["Content-Type"]) == 0 {
		h["Content-Type"] = []string{"application/octet-stream"}
	}
}

// maxFilename bounds a name in bytes, so that it fits every file system.
const maxFilename = 200

// reservedNames cannot be files on Windows, whatever their extension.
const reservedNames = " con conin$ conout$ prn aux nul com¹ com² com³ lpt¹ lpt² lpt³ com0 com1 com2 com3 com4 com5 com6 com7 com8 com9 lpt0 lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9 "

// ContentDisposition returns a header value that saves a response under the
// filename (RFC 6266, RFC 8187), whatever was uploaded under it: directories,
// control characters, characters that turn the direction of text (which hide
// an .exe behind a .pdf), leading dots and names that Windows reserves are
// removed or replaced, and a long name keeps its extension.
func ContentDisposition(filename string) string {
	name := safeFilename(filename)
	// For names that are not ASCII, mime writes filename*, which every browser
	// of this decade reads.
	return mime.FormatMediaType("attachment", map[string]string{"filename": name})
}

func safeFilename(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, unicode.Is(unicode.Cf, r), unicode.IsControl(r): // Cf holds the direction marks
			return -1
		case strings.ContainsRune(`<>:"|?*;%'`, r):
			return '_'
		case unicode.IsSpace(r):
			return ' '
		}
		return r
	}, name)
	name = strings.TrimRight(strings.TrimLeft(name, ". -"), ". ")
	ext := path.Ext(name)
	if len(ext) > 16 {
		ext = ""
	}
	base := strings.TrimSuffix(name, ext)
	for len(base)+len(ext) > maxFilename {
		_, n := utf8.DecodeLastRuneInString(base)
		base = base[:len(base)-n]
	}
	base = strings.TrimRight(base, ". ")
	if first, _, _ := strings.Cut(base, "."); base == "" || strings.Contains(reservedNames, " "+strings.ToLower(strings.TrimSpace(first))+" ") {
		base = "file" + base
	}
	return base + ext
}
