package ratelimit

import "testing"

func TestAPatternThatMeansNothingOrSomethingElseIsAFault(t *testing.T) {
	for p, want := range map[string]string{
		"":                      "has no path",
		"login":                 "has no path",
		"POST":                  "has no path",
		"post /login":           "has a method that is not upper case, which no request has",
		" /login":               "begins with a word that is no method",
		"/my file":              "has a method that is not upper case, which no request has",
		"/A B":                  "begins with a word that is no method",
		"POST  /login":          "has not one space between its method and its path",
		"POST\t/login":          "has not one space between its method and its path",
		"POST login/":           "begins with a host of one word, login",
		"Example.com/":          "has a host that is not lower case, as clients send it",
		"example.com:8080/":     "has a host with a port, which requests are matched without",
		"*.example.com/":        "has a host that is none, *.example.com",
		"{host}/":               "has a host that is none, {host}",
		"https://example.com/a": "has a host with a port, which requests are matched without",
		"/search?q=":            "holds a '?' or '#', and a route is about the path only",
		"/page#top":             "holds a '?' or '#', and a route is about the path only",
		"/a//b":                 "has a path that is not clean, at which no request is served",
		"/a/../b":               "has a path that is not clean, at which no request is served",
		"/a/.":                  "has a path that is not clean, at which no request is served",
		"CONNECT /a/./b":        "has a path that is not clean, at which no request is served",
		"/\t":                   "holds a space or a control character",
		"GET /a b":              "holds a space or a control character",
		"/100%":                 "holds a % that begins no escape",
		"/a/%2F":                "has a segment that is an escaped slash",
		"/{$}/a":                "has {$} before its end",
		"/{all...}/a":           "has {all...} before its end",
		"/{all...}/":            "has {all...} before its end",
		"/{id}/{id}":            `names two segments "id"`,
		"/{id}/{id...}":         `names two segments "id"`,
		"/a{id}":                "is not a pattern of net/http.ServeMux: a{id} holds more than a wildcard",
		"/{id}.json":            "is not a pattern of net/http.ServeMux: {id}.json holds more than a wildcard",
		"/{":                    "is not a pattern of net/http.ServeMux: { holds more than a wildcard",
		"/{}":                   "is not a pattern of net/http.ServeMux: {} has no name of letters and digits",
		"/{...}":                "is not a pattern of net/http.ServeMux: {...} has no name of letters and digits",
		"/{1st}":                "is not a pattern of net/http.ServeMux: {1st} has no name of letters and digits",
		"/{user-id}":            "is not a pattern of net/http.ServeMux: {user-id} has no name of letters and digits",
		"/":                     "", "POST /login": "", "M-SEARCH /": "", "localhost/a": "", "127.0.0.1/a": "", "GET xn--bcher-kva.example/{$}": "",
		"/{a}/{b}/{c...}": "", "/a%2Fb/%61": "", "/a/{größe}/": "", "/.well-known/": "", "/a}": "", "/{_}": "",
	} {
		_, reason, fix := parsePattern(p)
		if reason != want || (reason == "") != (fix == "") {
			t.Errorf("%q: %q, want %q; fix: %q", p, reason, want, fix)
		}
	}
}

func TestPatternsOfWhichNeitherIsMoreSpecificAreAFault(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"/a", "/a", "stands in Routes[0] too"},
		{"/a/{x}", "/a/{y}", `matches the same requests as Routes[0] "/a/{x}"`},
		{"/a/", "/a/{all...}", `matches the same requests as Routes[0] "/a/"`},
		{"/a", "/%61", `matches the same requests as Routes[0] "/a"`},
		{"/a/{x}", "/{x}/a", `overlaps Routes[0] "/a/{x}", and neither is more specific`},
		{"GET /", "/a", `overlaps Routes[0] "GET /", and neither is more specific`},
		{"HEAD /{x}", "GET /a", `overlaps Routes[0] "HEAD /{x}", and neither is more specific`},
		{"/a/{x}/", "/{x}/b/{$}", `overlaps Routes[0] "/a/{x}/", and neither is more specific`},
		{"GET /a", "/", ""}, {"HEAD /a", "GET /a", ""}, {"POST /a/{x}", "GET /{x}/a", ""}, {"/a", "/a/", ""}, {"/a/{x}", "/a/{$}", ""}, {"example.com/", "GET /", ""}, {"a.example/{x}", "b.example/{x}", ""}, {"/a/b/", "/a/{$}", ""},
	} {
		got := ""
		parseRoutes([]Route{{Pattern: tt.a}, {Pattern: tt.b}}, func(_ int, reason, _ string) { got = reason })
		if got != tt.want {
			t.Errorf("%q and %q: %q, want %q", tt.a, tt.b, got, tt.want)
		}
	}
}
