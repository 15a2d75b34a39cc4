package hardening

import (
	"encoding/json"
	"html"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// Problem is a refusal as RFC 9457 describes it. Type, Title, Detail and
// Extensions reach the client; Err is for the log alone and is never written
// to a response.
type Problem struct {
	Type   string // URI; "" is written as "about:blank"
	Title  string // "" becomes the status text
	Detail string // what the client may know and can do about it
	Status int    // 400 to 599; anything else is answered as 500
	// Extensions are further members (RFC 9457 section 3.2). Names that
	// collide with the standard members are ignored.
	Extensions map[string]any
	// Err is the cause. It is never sent to the client.
	Err error
}

// Error describes the refusal in the words the client gets; the cause is
// reachable with errors.Is and errors.As only.
func (p *Problem) Error() string {
	s := strconv.Itoa(p.status()) + " " + p.title()
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	return s
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }

func (p *Problem) status() int {
	if p.Status < 400 || p.Status > 599 {
		return http.StatusInternalServerError
	}
	return p.Status
}

func (p *Problem) title() string {
	if p.Title != "" {
		return p.Title
	}
	if t := http.StatusText(p.status()); t != "" {
		return t
	}
	return "Error"
}

// WriteProblem answers the request with p: as a small HTML page without
// scripts or styles if the client's Accept header prefers text/html, else as
// application/problem+json. It sets Content-Type, Content-Length,
// X-Content-Type-Options and Cache-Control: no-store, and removes headers that
// described the representation it replaces. Other headers, such as
// Retry-After, stay. A nil p is a bare 500. HEAD requests get no body.
//
// The request id of [ClientOf] is included, so that a user can quote it.
func WriteProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	if p == nil {
		p = &Problem{}
	}
	id := ClientOf(r).RequestID
	var body []byte
	contentType := "application/problem+json"
	if prefersHTML(r.Header["Accept"]) {
		contentType = "text/html; charset=utf-8"
		body = p.html(id)
	} else {
		body = p.json(id)
	}
	h := w.Header()
	for _, k := range []string{"Content-Encoding", "Content-Language", "Content-Disposition", "Content-Range", "Etag", "Last-Modified", "Accept-Ranges", "Expires"} {
		delete(h, k)
	}
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.status())
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client is gone if this fails; there is no one to tell
	}
}

func (p *Problem) json(id string) []byte {
	m := make(map[string]any, len(p.Extensions)+5)
	maps.Copy(m, p.Extensions)
	m["type"] = p.Type
	if p.Type == "" {
		m["type"] = "about:blank"
	}
	m["title"] = p.title()
	m["status"] = p.status()
	delete(m, "detail")
	delete(m, "instance")
	if p.Detail != "" {
		m["detail"] = p.Detail
	}
	if id != "" {
		m["request_id"] = id
	}
	b, err := json.Marshal(m)
	if err != nil { // an extension that has no JSON form must not hide the refusal
		b, _ = json.Marshal(map[string]any{"type": "about:blank", "title": p.title(), "status": p.status()})
	}
	return append(b, '\n')
}

func (p *Problem) html(id string) []byte {
	var b strings.Builder
	title := html.EscapeString(strconv.Itoa(p.status()) + " " + p.title())
	b.WriteString("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>")
	b.WriteString(title)
	b.WriteString("</title></head>\n<body><main><h1>")
	b.WriteString(title)
	b.WriteString("</h1>\n")
	if p.Detail != "" {
		b.WriteString("<p>" + html.EscapeString(p.Detail) + "</p>\n")
	}
	if id != "" {
		b.WriteString("<p>Request id: <code>" + html.EscapeString(id) + "</code></p>\n")
	}
	b.WriteString("</main></body></html>\n")
	return []byte(b.String())
}

// prefersHTML reports whether text/html is named in Accept with a quality
// above that of any JSON type (RFC 9110 section 12.5.1). "*/*" alone, as
// command-line clients send it, means JSON. At most 32 ranges are read.
func prefersHTML(accept []string) bool {
	var htmlQ, jsonQ float64
	seen := 0
	for _, line := range accept {
		for part := range strings.SplitSeq(line, ",") {
			if seen++; seen > 32 {
				return htmlQ > jsonQ
			}
			typ, params, _ := strings.Cut(part, ";")
			q := quality(params)
			switch strings.ToLower(strings.TrimSpace(typ)) {
			case "text/html", "application/xhtml+xml":
				htmlQ = max(htmlQ, q)
			case "application/json", "application/problem+json":
				jsonQ = max(jsonQ, q)
			}
		}
	}
	return htmlQ > jsonQ
}

func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		k, v, ok := strings.Cut(strings.TrimSpace(p), "=")
		if !ok || !strings.EqualFold(k, "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
