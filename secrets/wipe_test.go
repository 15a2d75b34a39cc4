package secrets

import (
	"bytes"
	"runtime"
	"testing"
	"time"
)

// wiped waits until what done asks for has been collected and wiped.
func wiped(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 200 {
		if done() {
			return
		}
		runtime.GC()
		runtime.Gosched()
	}
	t.Errorf("%s was not wiped", what)
}

// text returns the bytes that a Secret holds themselves, and a way to ask whether
// they were wiped; neither keeps the Secret.
func textOf(s Secret) (text []byte, gone func() bool) {
	inner := s.p.Load()
	return inner.b, func() bool {
		inner.mu.RLock()
		defer inner.mu.RUnlock()
		return inner.b == nil
	}
}

func zero(b []byte) bool { return bytes.Equal(b, make([]byte, len(b))) }

func TestATextIsWipedWhenItIsDestroyedOrCollected(t *testing.T) {
	s := NewSecret("destroyed-9fKx3Lm8Tn2")
	text, gone := textOf(s)
	s.Destroy()
	if !gone() || !zero(text) {
		t.Error("Destroy left the text in memory")
	}
	s = NewSecret("collected-9fKx3Lm8Tn2")
	text, gone = textOf(s)
	copied := s
	runtime.GC()
	if gone() || Expose(copied) != "collected-9fKx3Lm8Tn2" {
		t.Error("a text that is still held was wiped")
	}
	s, copied = Secret{}, Secret{}
	_, _ = s, copied
	wiped(t, "a text that nobody holds", gone)
	if !zero(text) {
		t.Error("the collected text is still in memory")
	}
}

func TestKeysThatAReloadReplacedAreWipedOnceNobodyUsesThem(t *testing.T) {
	if raceEnabled {
		t.Skip("there is nothing to wait for but the bytes themselves")
	}
	now := time.Now()
	keys, bad := parseRing([]byte("v1@2020-01-01:"+testKeys[0]), minKeyBits, now)
	next, worse := parseRing([]byte("v2@2020-01-02:"+testKeys[1]+",v1@2020-01-01:"+testKeys[0]), minKeyBits, now)
	if bad != nil || worse != nil {
		t.Fatal(bad, worse)
	}
	key := keys[0].key
	r := newRing(keys, day, time.Minute)
	r.replace(next)
	wiped(t, "a key that was replaced", func() bool { return zero(key) })
	if len(r.Derive("test/x", 32)) != 2 {
		t.Error("a key that is in use was wiped")
	}
}
