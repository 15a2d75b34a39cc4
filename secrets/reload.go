package secrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/inovy/hardening/internal/filepoll"
)

// Reload looks at once at every file and asks every Provider that a secret came
// from, without waiting for [Options.PollInterval] or for a file to stand still:
// call it on SIGHUP, or when a service refuses a password. Live and Ring fields
// take new values over; that a Secret field has a new one is reported by
// [Loader.Check], for it never changes. What came from the environment has no
// source any more.
//
// The error holds every fault, as that of Load does, or says that the audit
// handler refused. What belongs together, the files of one directory or the
// values of one Provider, is then left as it was, whole; the rest is taken over.
func (l *Loader) Reload(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("secrets: nothing was looked at: %w", err)
	}
	if l.ended.Load() { // with nothing to look at, nobody below would notice
		return ErrClosed
	}
	var err error
	if l.poller != nil {
		err = l.poller.Poll(ctx)
	} else if len(l.watched) > 0 {
		s := filepoll.Read(l.paths(), maxBytes)
		err = l.applyFiles(ctx, s)
		s.Wipe()
	}
	if errors.Is(err, ErrClosed) {
		return err
	}
	err = errors.Join(err, l.applyProviders(ctx, false))
	if l.current().ledger != nil {
		l.passed(ctx)
	}
	return err
}

// look is what a source has for an item now. The value belongs to who made it.
type look struct {
	item    int
	group   string // what is taken over together or not at all
	value   []byte
	bad     *flaw
	written time.Time
	open    string
	loose   bool
	meta    *Meta
	beside  dates
}

// applyWatched is applyFiles for the poller. What was refused is looked at again
// each time, also if the files stay as they are: a mode, the owner of a directory,
// the key of an encrypted file, the clock or the audit handler may have been what
// was wrong.
func (l *Loader) applyWatched(ctx context.Context, s filepoll.Snapshot) error {
	err := l.applyFiles(ctx, s)
	if err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	return refused{err}
}

// refused asks the poller to offer the same again, and reads as what it holds.
type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

func (refused) Is(target error) bool { return target == filepoll.ErrRetry }

// applyFiles takes over what the watched files hold now.
func (l *Loader) applyFiles(ctx context.Context, s filepoll.Snapshot) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var looks []look
	items := l.current().items
	next := 0
	for _, w := range l.watched {
		file, beside := s.Files[next], s.Files[next+1:next+len(w.file.paths())]
		next += 1 + len(beside)
		bad := w.file.judge(file, l.narrowest(w), &l.opts)
		var pairs []pair
		if bad == nil && w.file.split != nil {
			pairs, bad = w.file.split(ctx, file.Data)
		}
		for _, i := range w.items {
			one := look{item: i, group: w.file.group, bad: bad, written: w.file.written, open: w.file.open, loose: w.file.loose}
			switch {
			case bad != nil:
			case w.file.split != nil:
				one.value = bytes.Clone(valueOf(pairs, items[i].field.name))
				defer clear(one.value)
				one.beside, one.bad = items[i].field.besidePair(pairs)
			default:
				one.value = file.Data
				if w.file.dated {
					one.beside, one.bad = besideFile(items[i].field.name, beside, l.opts.Environment)
					one.loose = one.loose || one.beside.loose
				}
			}
			if w.file.named && one.bad == nil {
				one.beside, one.bad = items[i].field.besideVariable()
			}
			looks = append(looks, one)
		}
		wipePairs(pairs)
	}
	return l.refresh(ctx, looks)
}

// narrowest returns the field by which a file is judged, nil if it has many.
func (l *Loader) narrowest(w watched) *field {
	if w.file.split != nil {
		return nil
	}
	return l.current().items[w.items[0]].field
}

// applyProviders takes over what the Providers hold now; of those only that have
// hot items, or of all. Their Secret fields are asked for too, because what
// waits for a restart is to be told.
//
// One asks at a time, until what it heard is taken over: a slow answer must not
// bring back what a quicker and later one has replaced.
func (l *Loader) applyProviders(ctx context.Context, hot bool) error {
	select {
	case l.asking <- struct{}{}:
		defer func() { <-l.asking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	bySource := map[int][]int{}
	items := l.current().items
	for i, it := range items {
		if it.meta != nil && (!hot || slices.Contains(l.vaults, it.source)) {
			bySource[it.source] = append(bySource[it.source], i)
		}
	}
	var looks []look
	for source, which := range bySource {
		p := l.opts.Sources[source].impl.(providerSource)
		fields := make([]*field, len(which))
		for n, i := range which {
			fields[n] = items[i].field
		}
		for n, got := range p.settled(ctx, fields) {
			if got.value == nil && got.bad == nil {
				got.bad = &flaw{reason: "is gone", fix: "put it back; the last good value stays in use"}
			}
			looks = append(looks, look{item: which[n], group: p.name, value: got.value, bad: got.bad, meta: &got.meta})
			defer clear(got.value)
		}
	}
	if err := ctx.Err(); err != nil || looks == nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refresh(ctx, looks)
}
