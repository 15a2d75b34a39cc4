package headers_test

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

// hostile are paths of which each names a file that exists.
var hostile = []string{
	"/db.sql.gz.zip", "/app.env.gz.gz", "/db.sql.7z", "/db.sql.tgz", "/db.sql.tar.gz", "/x.env.local", "/prod.env.production",
	"/.git/config", "/.git/HEAD", "/.env", "/.env.production", "/a/.env", "/.GIT/config", "/.htpasswd", "/.DS_Store", "/.svn/entries", "/.ssh/id_rsa",
	"/app.js.map", "/app.css.MAP", "/index.html~", "/index.html.bak", "/index.html.BAK", "/config.old", "/page.orig", "/page.swp", "/dump.sql", "/data.sqlite",
	"/server.key", "/server.pem", "/cert.p12", "/id.kdbx", "/main.go", "/index.php", "/deploy.sh", "/app.py", "/config.yml", "/config.yaml",
	"/settings.ini", "/terraform.tfstate", "/Dockerfile", "/package.json", "/composer.lock", "/go.mod", "/web.config", "/WEB-INF/web.xml", "/node_modules/x/x.js", "/Thumbs.db",
	"/access.log", "/#auto#", "/page.html.", "/page.html ", "/name:stream", "/back\\slash", "/wild*card", "/.well-known/.env", "/a/.well-known/x",
	"/git~1/config", "/WEB~1.CON", "/\u200c.git/config", "/id_rsa", "/x.ppk", "/app.js.map.gz", "/dump.sql.ZIP", "/page.jsp", "/page.aspx", "/App.vue", "/dump.rdb", "/prod.env", "/page.bkp",
}

func TestStaticHidesWhatIsInAWebRootByMistake(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.4.1")
	files := fstest.MapFS{
		"index.html": {Data: []byte("home")}, "app.js": {Data: []byte("js")}, "a/b.txt": {Data: []byte("b")}, "sub/index.html": {Data: []byte("sub")},
		".well-known/security.txt": {Data: []byte("contact")}, "map.html": {Data: []byte("a map")}, "keys.html": {Data: []byte("k")}, "download.tar.gz": {Data: []byte("z")},
	}
	for _, p := range hostile {
		files[p[1:]] = &fstest.MapFile{Data: []byte("SECRET")}
	}
	h := must(headers.New(headers.API())).Wrap(headers.Static(files))
	ask := func(method, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/", nil)
		r.URL = &url.URL{Path: path}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	extra := []string{"/a", "/a/", "/nothing", "/../app.js", "/a/../app.js", "//app.js", "/./app.js", "/app.js/", "/%2e%2e/app.js", "/app.js%00", "app.js", "", "/\x00", "/a/%5c..", "/con\u0000"}
	if len(hostile) < 40 {
		t.Fatal("too few hostile paths")
	}
	for _, p := range append(extra, hostile...) {
		w := ask("GET", p)
		if w.Code != 404 && !(p == "/app.js/" && w.Code == 301) || strings.Contains(w.Body.String(), "SECRET") || strings.Contains(w.Body.String(), "b.txt") {
			t.Errorf("%q: %d %s", p, w.Code, w.Body)
		}
		if w.Code == 404 && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%q: %v", p, w.Header())
		}
	}
	for p, body := range map[string]string{"/": "home", "/app.js": "js", "/a/b.txt": "b", "/sub/": "sub", "/.well-known/security.txt": "contact", "/map.html": "a map", "/keys.html": "k", "/download.tar.gz": "z"} {
		if w := ask("GET", p); w.Code != 200 || w.Body.String() != body {
			t.Errorf("%s: %d %q", p, w.Code, w.Body)
		}
	}
	if w := ask("POST", "/app.js"); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestADiskThatFailsIsNoMissingPage(t *testing.T) {
	w := httptest.NewRecorder()
	headers.Static(broken{}).ServeHTTP(w, httptest.NewRequest("GET", "/x", nil))
	if w.Code != 500 && w.Code != 403 {
		t.Errorf("status %d", w.Code)
	}
}

type broken struct{}

func (broken) Open(string) (fs.File, error) { return nil, fs.ErrPermission }

// closed is a file system of which each index exists and cannot be opened.
type closed struct{ fstest.MapFS }

func (c closed) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, "index.html") {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return c.MapFS.Open(name)
}

func TestTrap_ADirectoryIsNotListedWhereItsIndexCannotBeOpened(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.4.3")
	dir := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "www", "d"), 0o750),
		os.WriteFile(filepath.Join(dir, "www", "d", "secret.txt"), nil, 0o600),
		os.WriteFile(filepath.Join(dir, "outside.html"), []byte("outside"), 0o600),
		os.Symlink(filepath.Join(dir, "outside.html"), filepath.Join(dir, "www", "d", "index.html")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	root := must(os.OpenRoot(filepath.Join(dir, "www")))
	defer root.Close()
	for name, fsys := range map[string]fs.FS{
		"unreadable":         closed{fstest.MapFS{"d/index.html": {Data: []byte("x")}, "d/secret.txt": {Data: []byte("x")}}},
		"a link that leaves": root.FS(),
	} {
		w := httptest.NewRecorder()
		headers.Static(fsys).ServeHTTP(w, httptest.NewRequest("GET", "/d/", nil))
		if w.Code < 400 || strings.Contains(w.Body.String(), "secret") || strings.Contains(w.Body.String(), "outside") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

func TestClearSiteDataAndNoStore(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-14.3.1")
	t.Attr("control", "ASVS v5.0.0-14.3.2")
	w := httptest.NewRecorder()
	headers.ClearSiteData(w)
	if got := w.Header().Get("Clear-Site-Data"); got != `"cache","cookies","storage"` {
		t.Errorf("got %s", got)
	}
	headers.ClearSiteData(w, headers.ClearStorage, headers.ClearExecutionContexts)
	if got := w.Header()["Clear-Site-Data"]; !slices.Equal(got, []string{`"storage","executionContexts"`}) {
		t.Errorf("got %s", got)
	}
	w.Header().Set("Etag", `"x"`)
	w.Header().Set("Cache-Control", "public")
	headers.NoStore(w)
	if w.Header().Get("Cache-Control") != "no-store, max-age=0" || w.Header()["Etag"] != nil {
		t.Errorf("%v", w.Header())
	}
}

func TestNamesOfUploadsAreSafe(t *testing.T) {
	for in, want := range map[string]string{
		"report.pdf":                   `attachment; filename=report.pdf`,
		"my report.pdf":                `attachment; filename="my report.pdf"`,
		"":                             `attachment; filename=file`,
		"../../etc/passwd":             `attachment; filename=passwd`,
		`C:\temp\x.txt`:                `attachment; filename=x.txt`,
		".htaccess":                    `attachment; filename=htaccess`,
		"...":                          `attachment; filename=file`,
		"con.txt":                      `attachment; filename=filecon.txt`,
		"LPT1":                         `attachment; filename=fileLPT1`,
		"COM¹.txt":                     `attachment; filename*=utf-8''fileCOM%C2%B9.txt`,
		"CONOUT$":                      `attachment; filename=fileCONOUT$`,
		"a\r\nSet-Cookie: x=y":         `attachment; filename="aSet-Cookie_ x=y"`,
		"a\x00.txt":                    `attachment; filename=a.txt`,
		`a";filename=evil.exe`:         `attachment; filename="a__filename=evil.exe"`,
		"invoice\u202efdp.exe":         `attachment; filename=invoicefdp.exe`,
		"zorgé.pdf":                    `attachment; filename*=utf-8''zorg%C3%A9.pdf`,
		"x.txt. . .":                   `attachment; filename=x.txt`,
		"--rf.txt":                     `attachment; filename=rf.txt`,
		"100%.txt":                     `attachment; filename=100_.txt`,
		"bad\xffutf8.txt":              `attachment; filename=badutf8.txt`,
		"a." + strings.Repeat("b", 40): `attachment; filename=a.` + strings.Repeat("b", 40),
	} {
		if got := headers.ContentDisposition(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	if got := headers.ContentDisposition(strings.Repeat("é", 1<<20) + ".pdf"); len(got) > 700 || !strings.HasSuffix(got, ".pdf") {
		t.Errorf("%d bytes: %.50s", len(got), got)
	}
	w := httptest.NewRecorder()
	headers.Attachment(w, "x.html")
	h := w.Header()
	if h.Get("Content-Type") != "application/octet-stream" || h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%v", h)
	}
}

func FuzzContentDisposition(f *testing.F) {
	f.Add("report.pdf")
	f.Add("../\u202e\x00;\"")
	f.Fuzz(func(t *testing.T, name string) {
		v := headers.ContentDisposition(name)
		if !strings.HasPrefix(v, "attachment; filename") || len(v) > 900 || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > 0x7e }) {
			t.Fatalf("%q gives %q", name, v)
		}
	})
}

func TestSecurityTxt(t *testing.T) {
	t.Attr("control", "RFC 9116-2.5.5")
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		now := time.Now()
		cfg := headers.SecurityTxtConfig{
			Contact: []string{"mailto:security@example.org", "https://example.org/report"}, Expires: now.Add(100 * 24 * time.Hour),
			Canonical: []string{"https://example.org/.well-known/security.txt"}, PreferredLanguages: []string{"nl", "en"}, Policy: []string{"https://example.org/policy"},
		}
		cfg.Logger = discardTo(&log)
		s := must(headers.SecurityTxt(cfg))
		serve := func(method string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(method, "/.well-known/security.txt", nil))
			return w
		}
		want := "Contact: mailto:security@example.org\nContact: https://example.org/report\nCanonical: https://example.org/.well-known/security.txt\n" +
			"Policy: https://example.org/policy\nExpires: " + cfg.Expires.UTC().Format(time.RFC3339) + "\nPreferred-Languages: nl, en\n"
		if w := serve("GET"); w.Code != 200 || w.Body.String() != want || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%d %v\n%s", w.Code, w.Header(), w.Body)
		}
		if w := serve("HEAD"); w.Code != 200 || w.Body.Len() > 0 {
			t.Errorf("HEAD: %d", w.Code)
		}
		if w := serve("POST"); w.Code != 405 {
			t.Errorf("POST: %d", w.Code)
		}
		if f := s.Check(); len(f) != 1 || !f[0].Passed || log.Len() > 0 {
			t.Errorf("%v %s", f, &log)
		}
		time.Sleep(71 * 24 * time.Hour)
		serve("GET")
		serve("GET")
		if f := s.Check(); f[0].Passed || strings.Count(log.String(), `msg="security.txt expires"`) != 1 {
			t.Errorf("%v %s", f, &log)
		}
		time.Sleep(30 * 24 * time.Hour)
		if w := serve("GET"); w.Code != http.StatusNotFound {
			t.Errorf("an expired file: %d", w.Code)
		}
	})
}

func TestSecurityTxtNamesEveryFault(t *testing.T) {
	_, err := headers.SecurityTxt(headers.SecurityTxtConfig{
		Name: "a\nb", Contact: []string{"security@example.org", "http://example.org", "mailto:", "https://x\nContact: evil", "https://"}, Expires: time.Now().Add(-time.Hour),
		Canonical: []string{"https://example.org/security.txt", "https://example.org/?/.well-known/security.txt", "https://example.org/x/.well-known/security.txt"}, Policy: []string{}, PreferredLanguages: []string{"nl\n"},
	})
	var fields []string
	for e := range hardening.Faults(err) {
		fields = append(fields, e.Field)
		complete(t, e)
	}
	want := []string{"Name", "Expires", "Contact[0]", "Contact[1]", "Contact[2]", "Contact[3]", "Contact[4]", "Canonical[0]", "Canonical[1]", "Canonical[2]", "Policy", "PreferredLanguages[0]"}
	if !slices.Equal(fields, want) {
		t.Errorf("got  %v\nwant %v", fields, want)
	}
	for _, fix := range []string{`write "mailto:security@example.org"`, "make its path /.well-known/security.txt"} {
		if !strings.Contains(err.Error(), fix) {
			t.Errorf("no fault proposes %q: %v", fix, err)
		}
	}
	for _, c := range []headers.SecurityTxtConfig{{}, {Contact: []string{"tel:+31201234567"}, Expires: time.Now().Add(400 * 24 * time.Hour)}} {
		if _, err := headers.SecurityTxt(c); err == nil {
			t.Errorf("%v passed", c.Expires)
		}
	}
}
