package redissession_test

import (
	"testing"
)

func BenchmarkRedis(b *testing.B) {
	p := real(b)
	m := newManager(b, newStore(b, p.client))
	id := login(b, m, "")
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if user, _ := look(b, m, id); user != "ada" {
				b.Fatal("no session")
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			increment(m, id)
		}
	})
}
