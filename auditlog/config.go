package auditlog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
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
	// default, because only you know which disk outlives the process. In a test:
	// filepath.Join(t.TempDir(), "audit").
	Dir string

	// KeyFile is the file of the signing key, created with mode 0600. Default:
	// log.key inside Dir. Keep it elsewhere if copies of Dir go where the key
	// should not. Its directory must exist.
	KeyFile string

	// SubjectFile is the file of the keys under which data subjects stand in the
	// log, created with mode 0600. Default: subjects.keys inside Dir. Without it
	// nobody can read whose data was touched, so back it up, and no longer than
	// an erased person may be restored. Its directory must exist.
	SubjectFile string

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

	// Mode says what Record waits for. Default: Strict.
	Mode Mode

	// MaxWait is how long Record waits in the Bounded mode. Default: 250 ms; 1
	// millisecond to 1 minute.
	MaxWait time.Duration

	// MaxWaiting is how many records may wait for the disk before events are
	// refused with [ErrBusy] or, in BestEffort, dropped and counted. Default:
	// 65536 in Strict, else 4096; at least 64.
	MaxWaiting int

	// Epoch is how long one signing key is used; then it is destroyed, and the
	// next one signs. An epoch in which nothing happens lasts fifteen times as
	// long, and its end shows that the log was alive. Default: 1 minute; 1
	// second to 1 hour.
	Epoch time.Duration

	// Replica gets every byte of the log, in order, before Record returns, for
	// machines whose disk may vanish. Default: none.
	Replica Replica

	// ReplicaTimeout is how long a commit waits for the replica before its
	// callers get [ErrNotReplicated], whatever the replica does; ErrorLog and
	// OnError are told when that begins. The bytes are sent again with the next
	// commit. [Open] waits so long for each MiB, and an anchor's call may last
	// so long. Default: 5 seconds; 10 milliseconds to 1 hour.
	ReplicaTimeout time.Duration

	// Anchors get the newest checkpoint every AnchorEvery, and when the log is
	// closed: places that whoever can write to the log can not. With one,
	// [Verify] sees that the newest records were removed, and how many. Default:
	// none, which is a finding without a Replica.
	Anchors []Anchor

	// AnchorEvery is the time between two calls of an anchor. Default: 1 minute;
	// 1 second to 24 hours.
	AnchorEvery time.Duration

	// SegmentAge is the age at which a new segment file is begun. Default: 24
	// hours; 1 minute to 31 days. [Log.Prune] removes whole segments.
	SegmentAge time.Duration

	// SegmentBytes is the size at which a new segment file is begun. Default:
	// 64 MiB; at least 64 KiB. More than 256 MiB is a finding: [Open] reads the
	// newest segment whole.
	SegmentBytes int64

	// Redact says what is redacted from records that go to Next and from the
	// free text and attributes of events. Default: everything that the room
	// knows.
	Redact RedactorConfig

	// Next gets every record to [Log.Handler] that is no event, redacted.
	// Default: JSON lines at Info and above on standard error. slog's built-in
	// default handler is refused: it would send records in a circle.
	Next slog.Handler

	// ErrorLog gets what the room has to say about itself. Default: text lines
	// on standard error. It never goes to slog.Default, which may lead here.
	ErrorLog *slog.Logger

	// OnError is called, if set, with every event that could not be recorded and
	// with what stopped the log, never concurrently with itself. It is for alarms
	// and should not block: after a second the log goes on without it, and while
	// 64 calls wait for it only ErrorLog is told, as it always is. Default: none.
	OnError func(error)

	// openFile opens the live segment for appending. Tests make it fail.
	openFile func(path string) (appendFile, error)
}

// Mode is what [Log.Record] waits for.
type Mode uint8

// The modes. All but Strict are findings.
const (
	// Strict returns when the event is durable, however long that takes, or the
	// caller's context ends.
	Strict Mode = iota
	// Bounded waits at most Config.MaxWait and then returns [ErrBusy]; the event
	// may still become part of the log.
	Bounded
	// BestEffort waits for nothing. What does not fit is dropped, and a record
	// of the log itself says how many events that were and when.
	BestEffort
)

var modes = [...]string{"strict", "bounded", "best effort"}

// String returns the mode in lower case.
func (m Mode) String() string {
	if int(m) < len(modes) {
		return modes[m]
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// NLHealthcare keeps records for five years from the day they were written, as
// Dutch health care has to keep the logs of access to files (Staatscourant 2019,
// 38007; NEN 7513). The rest are the defaults. Dir is still yours to name.
func NLHealthcare() Config {
	return Config{Retention: 5 * 366 * day, SegmentAge: defaultSegmentAge, SegmentBytes: defaultSegment, Epoch: defaultEpoch}
}

const (
	defaultMaxWait        = 250 * time.Millisecond
	defaultEpoch          = time.Minute
	defaultReplicaTimeout = 5 * time.Second
	defaultAnchorEvery    = time.Minute
	defaultSegmentAge     = 24 * time.Hour

	strictWaiting = 1 << 16
	otherWaiting  = 4096
	maxBatchBytes = 64 << 20
)

// between validates a duration and fills in its default.
func between(f *faults.Collector, field string, d *time.Duration, def, least, most time.Duration) {
	switch {
	case *d == 0:
		*d = def
	case *d < least || *d > most:
		f.Add(field, *d, fmt.Sprintf("is not between %v and %v", least, most), fmt.Sprintf("leave it zero for %v", def))
	}
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
	if c.Mode > BestEffort {
		f.Add("Mode", c.Mode, "is not a mode", "use Strict, Bounded or BestEffort")
	}
	switch {
	case c.MaxWaiting == 0 && c.Mode == Strict:
		c.MaxWaiting = strictWaiting
	case c.MaxWaiting == 0:
		c.MaxWaiting = otherWaiting
	case c.MaxWaiting < 64:
		f.Add("MaxWaiting", c.MaxWaiting, "is less than 64", "leave it zero for 65536, or 4096 in the other modes")
	}
	between(f, "MaxWait", &c.MaxWait, defaultMaxWait, time.Millisecond, time.Minute)
	between(f, "Epoch", &c.Epoch, defaultEpoch, time.Second, time.Hour)
	between(f, "ReplicaTimeout", &c.ReplicaTimeout, defaultReplicaTimeout, 10*time.Millisecond, time.Hour)
	between(f, "AnchorEvery", &c.AnchorEvery, defaultAnchorEvery, time.Second, day)
	between(f, "SegmentAge", &c.SegmentAge, defaultSegmentAge, time.Minute, 31*day)
	f.NilInside("Replica", c.Replica, "leave it nil, or pass one that was made")
	if c.Anchors != nil && len(c.Anchors) == 0 {
		f.Missing("Anchors", "is empty but not nil", "leave it nil for none")
	}
	for i, a := range c.Anchors {
		if a == nil {
			f.Missing(fmt.Sprintf("Anchors[%d]", i), "is nil", "drop it, or pass one that was made")
		}
		f.NilInside(fmt.Sprintf("Anchors[%d]", i), a, "drop it, or pass one that was made")
	}
	c.Anchors = slices.Clone(c.Anchors)
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
	if c.Dir == "" {
		return c, f.Err()
	}
	c.place(f, "KeyFile", &c.KeyFile, keyName)
	c.place(f, "SubjectFile", &c.SubjectFile, subjectName)
	if f.Len() == 0 { // nothing is made for a config that will be refused
		prepareDir(f, c.Dir)
	}
	return c, f.Err()
}

const subjectName = "subjects.keys"

// place finds where a file of keys stands, whose directory must be there.
func (c *Config) place(f *faults.Collector, field string, path *string, inDir string) {
	if *path == "" {
		*path = filepath.Join(c.Dir, inDir)
		return
	}
	dir := filepath.Dir(*path)
	switch info, err := os.Stat(dir); {
	case err != nil:
		f.Add(field, *path, "stands in a directory that can not be entered: "+reasonOf(err), "make the directory, for the service's user alone, or name another file")
	case !info.IsDir():
		f.Add(field, *path, "stands below what is no directory", "name another file")
	}
	if info, err := os.Stat(*path); err == nil && !info.Mode().IsRegular() {
		f.Add(field, *path, "is no regular file", "name another file")
	}
}

// reasonOf is an error of the file system without the path, which the fault shows already.
func reasonOf(err error) string {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
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
