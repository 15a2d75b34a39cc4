package auditlog

import (
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/faults"
)

const (
	day = 24 * time.Hour

	// defaultRetention leaves a margin above one year, so that a yearly review
	// finds the whole year.
	defaultRetention = 400 * day
	minRetention     = 365 * day

	defaultSegment = 64 << 20
	minSegment     = 64 << 10
	maxSegment     = 256 << 20 // what a crash may cost in reading time
)

// Config says where the log stands and what becomes of records that are no
// events. Only Dir is mandatory.
type Config struct {
	_ [0]func()

	// Name tells several logs of one service apart and is the Component of
	// findings. Default: "auditlog".
	Name string

	// Dir is the directory of the log, of this log alone. It is created with
	// mode 0700; an existing one that others can enter is refused. There is no
	// default, because only you know which disk outlives the process.
	Dir string

	// KeyFile is the file of the signing key, created with mode 0600. Default:
	// log.key inside Dir. Keep it elsewhere if copies of Dir go where the key
	// should not. Its directory must exist.
	KeyFile string

	// Origin names the log in its checkpoints, for ever: it is chosen when the
	// log begins. At most 100 printable ASCII characters without space or '+';
	// a host and path is customary. Default: a random name.
	Origin string

	// Environment relaxes one finding in Development: that Next writes debug
	// records. Default: Production.
	Environment hardening.Environment

	// Retention is how long records are kept at least. Default: 400 days. Less
	// than 365 days is refused; NEN 7513 asks health care for five years.
	Retention time.Duration

	// SegmentBytes is the size at which a new segment file is begun. Default:
	// 64 MiB; at least 64 KiB.
	SegmentBytes int64

	// Redact says what is redacted from records that go to Next and from the
	// free text and attributes of events. The zero value redacts everything
	// that the room knows.
	Redact RedactorConfig

	// Next gets every record to [Log.Handler] that is no event, redacted.
	// Default: JSON lines at Info and above on standard error. slog's built-in
	// default handler is refused: it would send records in a circle.
	Next slog.Handler

	// ErrorLog gets what the room has to say about itself. Default: text lines
	// on standard error. It never goes to slog.Default, which may lead here.
	ErrorLog *slog.Logger

	// openFile opens the live segment for appending. Tests make it fail.
	openFile func(path string) (appendFile, error)
}

// resolve validates c and fills in its defaults.
func (c Config) resolve() (Config, error) {
	f := faults.For(room)
	f.Name("Name", c.Name)
	if c.Name == "" {
		c.Name = room
	}
	if c.Dir == "" {
		f.Missing("Dir", "is not set", "name a directory on a disk that outlives the process, for this log alone")
	}
	if c.Origin != "" && !validOrigin(c.Origin) {
		f.Add("Origin", c.Origin, "can not name a log", "use at most 100 printable ASCII characters without space or '+', such as example.nl/records/audit")
	}
	if !c.Environment.Valid() {
		f.Add("Environment", c.Environment, "is not an environment", "use hardening.Production, Staging or Development")
	}
	switch {
	case c.Retention == 0:
		c.Retention = defaultRetention
	case c.Retention < minRetention:
		f.Add("Retention", c.Retention, "is less than a year", "leave it zero for 400 days, or set at least 8760h")
	}
	switch {
	case c.SegmentBytes == 0:
		c.SegmentBytes = defaultSegment
	case c.SegmentBytes < minSegment:
		f.Add("SegmentBytes", c.SegmentBytes, "is too small", fmt.Sprintf("leave it zero for 64 MiB, or set at least %d", minSegment))
	}
	c.Redact.validate(f, "Redact.")
	c.Redact = c.Redact.clone()
	switch {
	case c.Next == nil:
		c.Next = slog.NewJSONHandler(os.Stderr, nil)
	case isNilPointer(c.Next):
		f.Missing("Next", "holds a nil pointer", "leave it nil for JSON lines on standard error, or pass a handler that was made")
	case isDefaultHandler(c.Next):
		f.Missing("Next", "is slog's built-in default handler, which leads back here once slog.SetDefault is called with this log", "pass slog.NewTextHandler or slog.NewJSONHandler")
	}
	switch {
	case c.ErrorLog == nil:
		c.ErrorLog = slog.New(slog.NewTextHandler(os.Stderr, nil))
	case isDefaultHandler(c.ErrorLog.Handler()):
		f.Missing("ErrorLog", "is slog's built-in default logger, which leads back here once slog.SetDefault is called with this log", "leave it nil for text lines on standard error")
	}
	if c.openFile == nil {
		c.openFile = openAppend
	}
	return c, f.Err()
}

func validOrigin(s string) bool {
	return len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '+' })
}

func isNilPointer(v any) bool {
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// isDefaultHandler knows the handler that writes through package log, whose
// output slog.SetDefault redirects to the new default handler.
func isDefaultHandler(h slog.Handler) bool { return fmt.Sprintf("%T", h) == "*slog.defaultHandler" }
