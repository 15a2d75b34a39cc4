package secrets_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/inovy/hardening/secrets"
)

func TestALiveIsReadWithoutAllocations(t *testing.T) {
	l := secrets.NewLive(secrets.NewSecret(goodToken))
	if secrets.Expose(l.Get()) != goodToken || l.IsZero() {
		t.Error("it holds something else")
	}
	if secrets.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	if n := testing.AllocsPerRun(100, func() { _ = l.Get() }); n != 0 {
		t.Errorf("Get allocates %v times", n)
	}
	ring, err := secrets.NewRing(secrets.RingConfig{Keys: secrets.NewSecret(generate(t))})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = ring.Generation() }); n != 0 {
		t.Errorf("Generation allocates %v times", n)
	}
}

func TestAnEmptyLiveHoldsNothing(t *testing.T) {
	var none *secrets.Live
	for _, l := range []*secrets.Live{none, new(secrets.Live), secrets.NewLive(secrets.Secret{})} {
		if !l.IsZero() || !l.Get().IsZero() {
			t.Error("it holds something")
		}
	}
	a, b := secrets.NewLive(secrets.NewSecret("a")), secrets.NewLive(secrets.NewSecret("b"))
	got := secrets.Together(a, none, new(secrets.Live), b, a)
	if len(got) != 5 || secrets.Expose(got[0])+secrets.Expose(got[3])+secrets.Expose(got[4]) != "aba" || !got[1].IsZero() || !got[2].IsZero() {
		t.Error("Together gives others")
	}
	if secrets.Together() == nil {
		t.Error("nothing together is nothing, not nil")
	}
}

func TestALiveShowsNothing(t *testing.T) {
	l := secrets.NewLive(secrets.NewSecret(goodToken))
	type holder struct {
		Exported   *secrets.Live
		unexported *secrets.Live
		value      secrets.Live
	}
	for _, v := range []any{l, *l, holder{l, l, *l}, &holder{l, l, *l}, []*secrets.Live{l}, map[string]any{"k": l}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%p"} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, goodToken[3:11]) {
				t.Errorf("%s shows %s", verb, out)
			}
		}
	}
}

func BenchmarkLiveGet(b *testing.B) {
	b.Run("atomic", func(b *testing.B) { // the limit
		var p atomic.Pointer[secrets.Secret]
		s := secrets.NewSecret(goodToken)
		p.Store(&s)
		for b.Loop() {
			_ = *p.Load()
		}
	})
	b.Run("live", func(b *testing.B) {
		l := secrets.NewLive(secrets.NewSecret(goodToken))
		b.ReportAllocs()
		for b.Loop() {
			_ = l.Get()
		}
	})
}
