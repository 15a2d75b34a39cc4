package tlsconfig

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
	"github.com/inovy/hardening/internal/filepoll"
)

// keeper loads certificates and trust anchors, follows their files, and keeps
// the last good state of each. A Server and a Client have one each.
type keeper struct {
	sink     event.Sink
	role     Role
	profile  Profile
	interval time.Duration

	// publish hands the state to handshakes. It is called with mu held after
	// every change, and once before start.
	publish func()

	pollers []*filepoll.Poller // of certs, then of cas; nil where there are no files
	stop    context.CancelFunc
	done    chan struct{}
	wake    chan struct{} // tells run that the state changed

	mu     sync.Mutex // guards the fields below
	certs  []certState
	cas    *caState // nil = the side has none
	closed bool
}

// certState is one certificate source.
type certState struct {
	field string // "Certs[0]"
	src   CertSource
	pair  *pair // in use
	fate
	staple staple
}

// caState is the source of trust anchors.
type caState struct {
	field string
	src   CASource
	set   *anchors // in use
	fate
}

// fate is what became of the last look at a source, and of its warnings.
type fate struct {
	refused string    // why the files as they are now are not in use; "" = they are
	retryAt time.Time // when the same files may be in order; zero = they will not
	told    Expiry    // the last warning, and when it was given
	toldAt  time.Time
}

func (f *fate) settled() { f.refused, f.retryAt = "", time.Time{} }

// mayRetry reports whether it is time to look at the same files again.
func (f *fate) mayRetry(now time.Time) bool { return !f.retryAt.IsZero() && !now.Before(f.retryAt) }

// usable reports whether peers accept the certificate at that moment.
func (c *certState) usable(now time.Time) bool {
	return !now.After(c.pair.leaf().NotAfter) && !c.staple.revoked
}

func (c *certState) isStandby() bool {
	_, ok := c.src.(standby)
	return ok
}

// The pace of the keeper's own goroutine.
const (
	defaultPoll = 10 * time.Second
	minPoll     = time.Second
	remindEvery = 24 * time.Hour // of a certificate that is due
	retryEvery  = time.Minute
)

// ErrClosed is returned by methods that need a Server or Client to be open.
var ErrClosed = errors.New("tlsconfig: closed")

// load reads every source and adds what is wrong to f. The snapshots are what
// was read, for start; the caller wipes them.
func (k *keeper) load(f *faults.Collector, certs []CertSource, caField string, cas CASource, now time.Time) []filepoll.Snapshot {
	var read []filepoll.Snapshot
	flawsOf := map[int][]flaw{}
	for i, src := range certs {
		field := fmt.Sprintf("Certs[%d]", i)
		if sb, ok := src.(standby); src == nil || ok && sb.CertSource == nil {
			f.Missing(field, "is nil", `use tlsconfig.Files("tls.crt", "tls.key")`)
			continue
		}
		s := filepoll.Read(src.paths(), maxFileBytes)
		p, flaws := src.parse(s)
		read = append(read, s)
		if p != nil {
			flaws = append(flaws, policy(p, k.role, k.profile, now)...)
		}
		flawsOf[len(k.certs)] = flaws
		k.certs = append(k.certs, certState{field: field, src: src, pair: p})
	}
	for i := range k.certs {
		for _, fl := range flawsOf[i] {
			if fl.kind == expired && len(flawsOf[i]) == 1 && k.replaceable(i, flawsOf) {
				continue // a restart must not stop what runs: the standby serves
			}
			f.Add(k.certs[i].field, pathTail(fl.file), fl.reason, fl.fix)
		}
	}
	if cas != nil {
		s := filepoll.Read(cas.paths(), maxFileBytes)
		set, flaws := cas.parse(s, now)
		read = append(read, s)
		for _, fl := range flaws {
			f.Add(caField, pathTail(fl.file), fl.reason, fl.fix)
		}
		k.cas = &caState{field: caField, src: cas, set: set}
	}
	return read
}

// replaceable reports whether standbys without a flaw cover what certificate i
// covers.
func (k *keeper) replaceable(i int, flaws map[int][]flaw) bool {
	var reserves []*pair
	for j := range k.certs {
		if k.certs[j].isStandby() && len(flaws[j]) == 0 {
			reserves = append(reserves, k.certs[j].pair)
		}
	}
	if len(reserves) == 0 || k.certs[i].isStandby() {
		return false
	}
	return len(uncovered(k.certs[i].pair.leaf(), leaves(reserves)...)) == 0
}

// announceAll records everything that is about to be used for the first time.
func (k *keeper) announceAll(ctx context.Context, now time.Time) error {
	for i := range k.certs {
		c := &k.certs[i]
		if err := k.announceCert(ctx, c, c.pair, now); err != nil {
			return err
		}
	}
	if k.cas != nil {
		return k.announceCAs(ctx, k.cas.set)
	}
	return nil
}

// start begins to follow the files. read is what load returned.
func (k *keeper) start(read []filepoll.Snapshot) {
	ctx, cancel := context.WithCancel(context.Background())
	k.stop, k.done, k.wake = cancel, make(chan struct{}), make(chan struct{}, 1)
	follow := func(paths []string, seen filepoll.Snapshot, apply func(context.Context, filepoll.Snapshot) error) {
		var p *filepoll.Poller
		if len(paths) > 0 {
			p = filepoll.Start(ctx, filepoll.Config{Paths: paths, MaxBytes: maxFileBytes, Interval: k.interval, Apply: apply}, seen)
		}
		k.pollers = append(k.pollers, p)
	}
	for i, c := range k.certs {
		follow(c.src.paths(), read[i], func(ctx context.Context, s filepoll.Snapshot) error { return k.applyCert(ctx, i, s) })
	}
	if k.cas != nil {
		follow(k.cas.src.paths(), read[len(k.certs)], k.applyCAs)
	}
	go k.run(ctx)
}

func (k *keeper) close() {
	k.mu.Lock()
	closed := k.closed
	k.closed = true
	k.mu.Unlock()
	if closed {
		<-k.done
		return
	}
	k.stop()
	for _, p := range k.pollers {
		if p != nil {
			p.Close()
		}
	}
	<-k.done
}

// forceKey marks the context of a reload that the caller insists on.
type forceKey struct{}

// reload looks at all files now, without waiting for them to settle.
func (k *keeper) reload(ctx context.Context) error {
	k.mu.Lock()
	closed := k.closed
	k.mu.Unlock()
	if closed {
		return ErrClosed
	}
	var errs []error
	for _, p := range k.pollers {
		if p != nil {
			errs = append(errs, p.Poll(ctx))
		}
	}
	return errors.Join(errs...)
}

func (k *keeper) applyCert(ctx context.Context, i int, s filepoll.Snapshot) error {
	k.mu.Lock()
	c := k.certs[i] // only this poller replaces the pair
	k.mu.Unlock()
	now := time.Now()

	p, flaws := c.src.parse(s)
	if p != nil && p.same(c.pair) {
		return k.settle(func() { k.certs[i].settled() })
	}
	if p != nil {
		flaws = append(flaws, policy(p, k.role, k.profile, now)...)
		if ctx.Value(forceKey{}) == nil {
			flaws = append(flaws, succession(p, c.pair)...)
		}
	}
	if len(flaws) == 0 {
		if err := k.announceCert(ctx, &c, p, now); err != nil {
			k.refuse(ctx, &c.fate, "certificate", c.pair.fingerprint, c.src.String(), []flaw{unaudited})
			return errors.Join(err, k.settle(func() { k.certs[i].fate = c.fate }))
		}
		c.settled()
		return k.settle(func() { k.certs[i].pair, k.certs[i].fate, k.certs[i].staple = p, c.fate, staple{} })
	}
	k.refuse(ctx, &c.fate, "certificate", c.pair.fingerprint, c.src.String(), flaws)
	return errors.Join(flawError(c.field, flaws), k.settle(func() { k.certs[i].fate = c.fate }))
}

func (k *keeper) applyCAs(ctx context.Context, s filepoll.Snapshot) error {
	k.mu.Lock()
	c := *k.cas
	k.mu.Unlock()

	set, flaws := c.src.parse(s, time.Now())
	switch {
	case len(flaws) > 0:
		k.refuse(ctx, &c.fate, "trust_anchors", c.set.digest, c.src.String(), flaws)
		return errors.Join(flawError(c.field, flaws), k.settle(func() { k.cas.fate = c.fate }))
	case set.digest == c.set.digest:
		return k.settle(func() { k.cas.settled() })
	}
	if err := k.announceCAs(ctx, set); err != nil {
		k.refuse(ctx, &c.fate, "trust_anchors", c.set.digest, c.src.String(), []flaw{unaudited})
		return errors.Join(err, k.settle(func() { k.cas.fate = c.fate }))
	}
	return k.settle(func() { k.cas.set, k.cas.fate = set, fate{} })
}

// settle changes the state and publishes it.
func (k *keeper) settle(change func()) error {
	k.mu.Lock()
	change()
	k.publish()
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default: // a wake-up is under way already
	}
	return nil
}

// unaudited stands for the audit handler's error, whose text is not ours.
var unaudited = flaw{reason: "could not be recorded: the audit handler refused", fix: "see why the audit log does not take records", kind: unapproved}

// refuse notes why the files are not taken over, and records it unless that is
// what was recorded last.
func (k *keeper) refuse(ctx context.Context, f *fate, objectType, inUse, source string, flaws []flaw) {
	var reasons []string
	f.retryAt = time.Time{}
	for _, fl := range flaws {
		reasons = append(reasons, fl.reason)
		if fl.kind == tooEarly || fl.kind == unapproved {
			f.retryAt = time.Now().Add(retryEvery)
		}
	}
	reason := strings.Join(reasons, "; ")
	if reason == f.refused {
		return
	}
	f.refused = reason
	// The change is refused in any case, so there is nothing to do about an
	// error of the audit handler.
	_ = k.sink.Emit(ctx, event.CertificateRejected,
		slog.String(event.KeyObjectType, objectType), slog.String(event.KeyObject, inUse),
		slog.String(event.KeyOutcome, event.OutcomeFailure), slog.String(event.KeyReason, reason),
		slog.String(event.KeySource, source))
}

func flawError(field string, flaws []flaw) error {
	f := faults.For(room)
	for _, fl := range flaws {
		f.Add(field, pathTail(fl.file), fl.reason, fl.fix)
	}
	return f.Err()
}

// announceCert records that a certificate is about to be used, and that it must
// be renewed if so.
func (k *keeper) announceCert(ctx context.Context, c *certState, p *pair, now time.Time) error {
	e := expiryOf(p.leaf().NotBefore, p.leaf().NotAfter, now)
	attrs := p.attrs()
	err := k.sink.Emit(ctx, event.CertificateReloaded, append(attrs[:len(attrs):len(attrs)], slog.String(event.KeyOutcome, event.OutcomeSuccess))...)
	if err == nil && e != ExpiryFresh {
		err = k.sink.Emit(ctx, event.CertificateExpiring, append(attrs[:len(attrs):len(attrs)], slog.String(event.KeyReason, e.String()))...)
	}
	if err != nil {
		return fmt.Errorf("tlsconfig: the audit handler refused the record of %s: %w", p.source, err)
	}
	c.fate.told, c.fate.toldAt = e, now
	return nil
}

func (p *pair) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String(event.KeyObjectType, "certificate"),
		slog.String(event.KeyObject, p.fingerprint),
		slog.String(event.KeySource, p.source),
		slog.Time(event.KeyNotAfter, p.leaf().NotAfter.UTC()),
	}
}

func (k *keeper) announceCAs(ctx context.Context, set *anchors) error {
	err := k.sink.Emit(ctx, event.CertificateReloaded,
		slog.String(event.KeyObjectType, "trust_anchors"), slog.String(event.KeyObject, set.digest),
		slog.String(event.KeySource, set.source), slog.Int(event.KeyCount, len(set.certs)),
		slog.String(event.KeyOutcome, event.OutcomeSuccess))
	if err != nil {
		return fmt.Errorf("tlsconfig: the audit handler refused the record of %s: %w", set.source, err)
	}
	return nil
}

// snapshot sorts the certificates into tiers. mu is held.
func (k *keeper) snapshot(now time.Time) *snapshot {
	var tiers [3][]*tls.Certificate
	for i := range k.certs {
		c := &k.certs[i]
		cert := c.pair.cert
		if c.staple.der != nil && now.Before(c.staple.nextUpdate) {
			cert.OCSPStaple = c.staple.der
		}
		t := tierUse
		switch {
		case !c.usable(now):
			t = tierSpent
		case c.isStandby():
			t = tierStandby
		}
		tiers[t] = append(tiers[t], &cert)
	}
	return newSnapshot(tiers)
}

// pairs are the certificates in use, standbys included.
func (k *keeper) pairs() []*pair {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]*pair, len(k.certs))
	for i := range k.certs {
		out[i] = k.certs[i].pair
	}
	return out
}

func leaves(pairs []*pair) (out []*x509.Certificate) {
	for _, p := range pairs {
		out = append(out, p.leaf())
	}
	return out
}

// log writes an operational record.
func (k *keeper) log(ctx context.Context, level slog.Level, msg string, attrs ...slog.Attr) {
	l := k.sink.Logger
	if l == nil {
		l = slog.Default()
	}
	l.LogAttrs(ctx, level, msg, append([]slog.Attr{slog.String(event.KeyRoom, room), slog.String(event.KeyInstance, k.sink.Name)}, attrs...)...)
}
