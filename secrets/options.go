package secrets

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

// Options says where and how strictly [Load] looks.
type Options struct {
	_ [0]func()
	// Name tells several loads of one program apart and is the Component of
	// their findings. Default: "secrets".
	Name string
	// Environment is where the service runs. Default: Production. Development
	// lets short and placeholder passwords, tokens and URLs, and files that
	// everyone may read, through with a failing finding, does not ask who may
	// replace a file, and alone reads [DotEnv] files.
	Environment hardening.Environment
	// Sources are asked in this order. Default: Systemd(), Dir("/run/secrets"),
	// Env().
	Sources []Source
	// PollInterval is the time between two looks at the files that Live and Ring
	// fields came from, at least a second. A change is taken over once two looks
	// have seen it alike. Default: 10 seconds.
	PollInterval time.Duration
	// FetchInterval is the time between two questions to a [Provider] that Live or
	// Ring fields came from, about all that came from it. Default: 5 minutes.
	FetchInterval time.Duration
	// Ledger remembers when values were first seen, see [FileLedger]. Default:
	// nothing does, and a value that no date comes with has no proven age.
	Ledger Ledger
	// DangerouslyAllowReadableFiles lets secret files on disk through that every
	// user of the machine may read. Files that others may write are always
	// refused.
	DangerouslyAllowReadableFiles bool
	// DangerouslyKeepEnvironment leaves secrets in the environment of the
	// process after they were loaded from there, where children inherit them and
	// /proc shows them. Set it in tests and programs that load one name twice.
	DangerouslyKeepEnvironment bool
	// Audit, if set, gets the records secret_loaded, secret_due,
	// secret_overdue, secret_rotated and secret_reload_fail. It gets them before
	// dst is filled or a new value is taken over, and its error refuses that. It
	// must not call Reload or Close.
	Audit slog.Handler
	// Logger gets them if Audit is nil. Default: slog.Default() at that moment.
	Logger *slog.Logger
}

const minPoll = time.Second

// check reports the faults of o and returns a copy with the defaults in.
func (o Options) check(c *faults.Collector) Options {
	if !o.Environment.Valid() {
		c.Add("Options.Environment", o.Environment, "is not an environment", "use hardening.Production, Staging or Development")
	}
	c.Name("Options.Name", o.Name)
	c.NilInside("Options.Audit", o.Audit, "leave it nil to use Logger, or pass a handler that was made")
	if o.Sources != nil && len(o.Sources) == 0 {
		c.Missing("Options.Sources", "is empty", "leave it nil for the default, or name a source")
	}
	for i, s := range o.Sources {
		if s.impl == nil {
			c.Missing(fmt.Sprintf("Options.Sources[%d]", i), "is a zero Source", "make it with Env, Dir, Systemd, DotEnv, Encrypted or From")
		}
	}
	switch {
	case o.PollInterval < 0:
		c.Add("Options.PollInterval", o.PollInterval, "is negative", "leave it zero for 10 seconds")
	case o.PollInterval > 0 && o.PollInterval < minPoll:
		c.Add("Options.PollInterval", o.PollInterval, "is shorter than a second, and every look reads all files", "leave it zero for 10 seconds, and call Reload where a change is known")
	}
	if o.FetchInterval < 0 {
		c.Add("Options.FetchInterval", o.FetchInterval, "is negative", "leave it zero for 5 minutes")
	}
	if o.Ledger.made && o.Ledger.path == "" {
		c.Missing("Options.Ledger", "is a FileLedger without a path", "name the file, or leave Ledger zero to remember nothing")
	}
	if o.Sources == nil {
		o.Sources = []Source{Systemd(), Dir("/run/secrets"), Env()}
	} else {
		o.Sources = append([]Source(nil), o.Sources...)
	}
	if o.PollInterval == 0 {
		o.PollInterval = 10 * time.Second
	}
	if o.FetchInterval == 0 {
		o.FetchInterval = 5 * time.Minute // what Vault's own agent does for KV version 2
	}
	if o.Name == "" {
		o.Name = "secrets"
	}
	return o
}

func (o *Options) sink() event.Sink {
	return event.Sink{Audit: o.Audit, Logger: o.Logger, Room: "secrets", Name: o.Name}
}

// allowReadable reports whether files on disk may be readable by everyone.
func (o *Options) allowReadable() bool {
	return o.DangerouslyAllowReadableFiles || o.Environment == hardening.Development
}
