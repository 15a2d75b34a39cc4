package password

import (
	"bufio"
	"context"
	"crypto/fips140"
	"crypto/sha1" // #nosec G505 -- the protocol's, and no secret rests on it
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/inovy/hardening/internal/faults"
)

// HIBPConfig configures a client of Have I Been Pwned. The zero value works.
type HIBPConfig struct {
	_ [0]func()

	// URL is the range service, for a mirror of one's own, which must be whole:
	// an answer without any hash counts as none. Default:
	// https://api.pwnedpasswords.com/range/. It must be https, or http to a
	// loopback address, and end in a slash, without a query or a fragment.
	URL string

	// Client makes the requests. nil = a client of its own that follows no
	// redirect. Use tlsconfig's for a verified one.
	Client *http.Client

	// Timeout bounds one question. Default: 2 s. At most 30 s.
	Timeout time.Duration
}

// HIBP asks the range service of Have I Been Pwned. The service learns the
// first 20 bits of the SHA-1 of a password and gets back all hashes that begin
// so, padded to hide how many there are. It is safe for concurrent use.
type HIBP struct {
	url     string
	client  *http.Client
	timeout time.Duration
}

const maxRange = 1 << 20 // bytes of an answer; real ones have some 40 kB

// NewHIBP returns a client, or every fault of cfg at once. It asks nothing yet.
func NewHIBP(cfg HIBPConfig) (*HIBP, error) {
	c := faults.For("password")
	if cfg.URL == "" {
		cfg.URL = "https://api.pwnedpasswords.com/range/"
	}
	u, err := url.Parse(cfg.URL)
	loopback := err == nil && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1")
	if err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(cfg.URL, "?#") || !strings.HasSuffix(u.Path, "/") || u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		c.Add("HIBPConfig.URL", cfg.URL, "is not an https URL that ends in a slash", "leave it empty for Have I Been Pwned")
	}
	switch {
	case cfg.Timeout == 0:
		cfg.Timeout = 2 * time.Second
	case cfg.Timeout < 0 || cfg.Timeout > 30*time.Second:
		c.Add("HIBPConfig.Timeout", cfg.Timeout, "is not between 0 and 30s", "leave it zero for 2s")
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return &HIBP{url: cfg.URL, client: cfg.Client, timeout: cfg.Timeout}, nil
}

var errRange = errors.New("password: the breach service does not answer as it should")

// Count implements [Breached].
func (h *HIBP) Count(ctx context.Context, password string) (int, error) {
	var sum [sha1.Size]byte
	// The protocol wants SHA-1, for which no approved module has to answer: it
	// protects nothing.
	fips140.WithoutEnforcement(func() { sum = sha1.Sum([]byte(password)) }) // #nosec G401 -- as above
	name := strings.ToUpper(hex.EncodeToString(sum[:]))
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url+name[:5], nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Add-Padding", "true")
	req.Header.Set("User-Agent", "inovy-hardening")
	res, err := h.client.Do(req)
	if err != nil {
		// The error names the URL, and with it 20 bits of the password's hash.
		var where *url.Error
		if errors.As(err, &where) {
			err = where.Err
		}
		return 0, fmt.Errorf("%w: %w", errRange, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%w: status %d", errRange, res.StatusCode)
	}
	count, some := 0, false
	body := &io.LimitedReader{R: res.Body, N: maxRange + 1}
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		some = true
		suffix, n, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		times, err := strconv.Atoi(n)
		if !ok || len(suffix) != len(name)-5 || err != nil || times < 0 {
			return 0, fmt.Errorf("%w: a line does not read", errRange)
		}
		if strings.EqualFold(suffix, name[5:]) {
			count = max(count, times) // 0 is padding
		}
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", errRange, err)
	}
	switch {
	case !some: // every range has hashes, and with padding many
		return 0, fmt.Errorf("%w: no hashes", errRange)
	case body.N == 0:
		return 0, fmt.Errorf("%w: more than %d bytes", errRange, maxRange)
	}
	return count, nil
}
