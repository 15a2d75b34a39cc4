package headers

import (
	"errors"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/inovy/hardening"
)

// Static serves the files of fsys by GET and HEAD, and answers 404 for what is
// in a web root by mistake: dotfiles (.git, .env; .well-known is served), source
// maps, backups, keys, source code and build files, and directories without an
// index.html. A path that could be read in two ways is refused as well. Give
// it os.Root.FS or an embed.FS: os.DirFS follows symbolic links out of the
// directory.
//
// Cacheable files need a policy without a nonce: wrap it with a policy of
// [Middleware.With]. http.FileServerFS removes Cache-Control from its 416
// answers; [Middleware.Enforce] puts it back.
func Static(fsys fs.FS) http.Handler {
	files := http.FileServerFS(unlisted{fsys})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			hardening.WriteProblem(w, r, &hardening.Problem{Status: http.StatusMethodNotAllowed})
		case hidden(r.URL.Path) || !exists(fsys, r.URL.Path):
			hardening.WriteProblem(w, r, &hardening.Problem{Status: http.StatusNotFound})
		default:
			files.ServeHTTP(w, r)
		}
	})
}

// exists reports whether the path is a file, or a directory with an index.
func exists(fsys fs.FS, urlPath string) bool {
	name := strings.Trim(urlPath, "/")
	if name == "" {
		name = "."
	}
	info, err := fs.Stat(fsys, name)
	if err == nil && info.IsDir() {
		info, err = fs.Stat(fsys, path.Join(name, "index.html"))
	}
	// An error that is not about existence is for FileServer to answer: a disk
	// that fails is no missing page.
	return err == nil && info.Mode().IsRegular() || err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid)
}

// unlisted is a file system whose directories cannot be read. FileServer lists
// a directory whose index it cannot open, be it for its mode, a link that leads
// out of the root, or because it was deleted a moment ago.
type unlisted struct{ fs.FS }

func (u unlisted) Open(name string) (fs.File, error) {
	f, err := u.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return unlistedDir{f}, nil
	}
	return f, nil
}

// unlistedDir has no ReadDir, whatever the directory has.
type unlistedDir struct{ fs.File }

// hiddenSuffixes end names of files that are not meant for visitors, in lower
// case.
var hiddenSuffixes = []string{
	".map",                                                                                                     // source maps
	"~", ".bak", ".bkp", ".backup", ".old", ".orig", ".save", ".swp", ".swo", ".tmp", ".rej", ".copy", ".dist", // editors and hands
	".sql", ".dump", ".rdb", ".sqlite", ".sqlite3", ".db", ".mdb", ".log", ".har", // data
	".pem", ".key", ".der", ".ppk", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".asc", ".age", // keys
	".go", ".php", ".py", ".rb", ".pl", ".sh", ".java", ".cs", ".jsp", ".asp", ".aspx", ".tmpl", ".gohtml", ".htaccess", ".htpasswd", // code
	".tsx", ".jsx", ".vue", ".svelte", ".scss", ".sass", ".less", // what bundles are made of
	".env", ".env.local", ".env.development", ".env.test", ".env.staging", ".env.production", ".conf", ".cfg", ".ini", ".toml", ".yml", ".yaml", ".tfstate", ".tfvars", ".properties", // configuration
}

// hiddenNames are files of builds and operating systems, in lower case.
var hiddenNames = []string{
	"dockerfile", "containerfile", "makefile", "jenkinsfile", "vagrantfile", "procfile", "go.mod", "go.sum", "package.json", "package-lock.json", "yarn.lock",
	"pnpm-lock.yaml", "composer.json", "composer.lock", "gemfile", "gemfile.lock", "tsconfig.json", "web.config", "thumbs.db", "desktop.ini",
	"web-inf", "meta-inf", "node_modules", "__macosx", "cvs", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519",
}

// packed are the endings of compressed copies, of which tools leave one beside
// the file.
var packed = []string{".gz", ".br", ".zst", ".xz", ".bz2", ".zip", ".tar", ".tgz", ".7z", ".rar"}

func hidden(p string) bool {
	if !strings.HasPrefix(p, "/") || !isClean(p) || strings.ContainsFunc(p, func(r rune) bool {
		// Some file systems ignore characters that do not show (Cf).
		return r < ' ' || r == 0x7f || r == utf8.RuneError || unicode.Is(unicode.Cf, r) || strings.ContainsRune(`\:%*?"<>|`, r)
	}) {
		return true
	}
	for i, part := range strings.Split(strings.Trim(p, "/"), "/") {
		name := strings.ToLower(part)
		for packing := true; packing; { // "db.sql.tar.gz"
			before := name
			for _, ending := range packed {
				name = strings.TrimSuffix(name, ending)
			}
			packing = name != before
		}
		switch {
		case name == ".well-known" && i == 0:
		case strings.HasPrefix(name, "."), strings.HasPrefix(name, "#"), strings.HasSuffix(name, "#"),
			strings.HasSuffix(name, ".") && name != "", strings.TrimSpace(name) != name, // Windows ignores what such names end in
			shortName(name),
			slices.Contains(hiddenNames, name),
			slices.ContainsFunc(hiddenSuffixes, func(s string) bool { return strings.HasSuffix(name, s) }):
			return true
		}
	}
	return false
}

// shortName reports whether Windows could have given the name to another file:
// "git~1" is ".git" there.
func shortName(name string) bool {
	_, number, ok := strings.Cut(name, "~")
	return ok && number != "" && '0' <= number[0] && number[0] <= '9'
}
