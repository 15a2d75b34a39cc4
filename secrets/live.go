package secrets

import "sync/atomic"

// Live is a secret that follows its source: [Load] fills a *Live field, and when
// the file or vault that it came from has a new value that keeps all rules, Get
// returns that. A value that breaks a rule, is empty or gone changes nothing:
// the last good one stays. Ask Get each time instead of keeping what it
// returned.
//
// A Live prints, encodes and dumps like a [Secret]. All methods are safe for
// concurrent use. A nil or zero Live holds no value.
type Live struct {
	opaque
	_ [0]func()
	p *atomic.Pointer[liveSet] // hidden as in Secret
	i int
}

// liveSet holds the values of all Lives of one Loader, so that one store
// changes them together. It is never changed once stored.
type liveSet struct {
	values []Secret
}

// NewLive returns a Live that always holds s, for tests and programs that have
// no configuration to load.
func NewLive(s Secret) *Live {
	l := &Live{p: new(atomic.Pointer[liveSet])}
	l.p.Store(&liveSet{values: []Secret{s}})
	return l
}

// Get returns the value of this moment. It costs one atomic load and allocates
// nothing. A value that was replaced stays readable for whoever got it before,
// and is wiped when the last copy of its Secret is collected.
func (l *Live) Get() Secret {
	if l == nil || l.p == nil {
		return Secret{}
	}
	return l.p.Load().values[l.i]
}

// IsZero reports whether l holds no value.
func (l *Live) IsZero() bool { return l.Get().IsZero() }

// Together returns the values of Lives that belong together, as user and
// password of one account: if one [Load] filled them, all come from one moment,
// and never one from before a rotation and one from after it. Two calls of Get
// can not promise that. A nil Live gives the zero Secret.
func Together(lives ...*Live) []Secret {
	out := make([]Secret, len(lives))
	done := make([]bool, len(lives))
	for i, l := range lives {
		if done[i] || l == nil || l.p == nil {
			continue
		}
		set := l.p.Load() // once for all that share it
		for j, other := range lives[i:] {
			if other != nil && other.p == l.p {
				out[i+j], done[i+j] = set.values[other.i], true
			}
		}
	}
	return out
}
