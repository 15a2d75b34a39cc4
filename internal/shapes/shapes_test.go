package shapes

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// sample makes a token of the pattern from random characters.
func sample(r *rand.Rand, parts []part) string {
	var b strings.Builder
	for _, p := range parts {
		if p.class == nil {
			b.WriteString(p.literal)
			continue
		}
		var set []byte
		for c := range 256 {
			// '=' , '.' and '~' at an end would be cut by no one; keep samples plain
			if p.class[c] {
				set = append(set, byte(c))
			}
		}
		n := p.least
		if p.most != unbounded {
			n += r.IntN(p.most - p.least + 1)
		}
		for range n {
			b.WriteByte(set[r.IntN(len(set))])
		}
	}
	return b.String()
}

func TestEveryShapeIsFoundWhereverItStands(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range patterns {
		parts := compile(p.pattern)
		for range 50 {
			token := sample(r, parts)
			for _, around := range [][2]string{{"", ""}, {"key=", "\n"}, {`{"k":"`, `"}`}, {"Bearer ", ", x"}, {"é", "\x00"}, {`a\n`, `\n`}, {"?a%3D", "%26"}, {"?a%253D", "%2526"}, {"?a%25253D", "%"}, {"%5Cn", "%5Cn"}, {"%5Cu003d", "%"}, {"%255Ct", "%"}, {`\u003d`, `"`}} {
				text := around[0] + token + around[1]
				m, ok := Next(text, 0)
				if !ok || m.Start != len(around[0]) {
					t.Fatalf("%s: not found in %q (%+v, %t)", p.pattern, text, m, ok)
				}
				if p.id != "private-key" && m.End != len(around[0])+len(token) {
					t.Fatalf("%s: ends at %d of %q, want %d", p.pattern, m.End, text, len(around[0])+len(token))
				}
			}
		}
	}
	if n := len(IDs()); n < 40 {
		t.Errorf("%d shapes", n)
	}
}

func TestWhatIsNotAToken(t *testing.T) {
	for _, s := range []string{
		"", "sk-", "AKIA", "AKIA0000", "akia0123456789abcdef", "task-proj-abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
		"550e8400-e29b-41d4-a716-446655440000", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "1700000000000", "ghp_short",
		"ghp_" + strings.Repeat("a", 37), "xghp_" + strings.Repeat("a", 36), "-----BEGIN CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----",
		"eyJhbGciOiJub25lIn0", strings.Repeat("A", 1<<16),
	} {
		if m, ok := Next(s, 0); ok {
			t.Errorf("%.60q is taken for a %s", s, m.ID)
		}
	}
}

func TestPrivateKeyBlocksAreTakenWhole(t *testing.T) {
	block := "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"
	for text, want := range map[string]string{
		"a " + block + " b":            block,
		"a " + block[:45]:              block[:45],
		block + "\n" + block:           block,
		"x-----BEGIN PRIVATE KEY-----": "-----BEGIN PRIVATE KEY-----",
	} {
		m, ok := Next(text, 0)
		if !ok || text[m.Start:m.End] != want {
			t.Errorf("%q gives %+v", text, m)
		}
	}
}

func TestNextGoesOnBehindAMatch(t *testing.T) {
	text := "npm_" + strings.Repeat("a", 36) + " and hf_" + strings.Repeat("b", 34)
	m, ok := Next(text, 0)
	if !ok || m.ID != "npm-token" {
		t.Fatalf("%+v", m)
	}
	if m, ok = Next(text, m.End); !ok || m.ID != "huggingface-token" {
		t.Fatalf("%+v", m)
	}
	if _, ok = Next(text, m.End); ok {
		t.Error("there is no third")
	}
}

func FuzzNext(f *testing.F) {
	f.Add("key=ghp_0123456789abcdefghijABCDEFGHIJ012345", 0)
	f.Add("-----BEGIN PRIVATE KEY-----", 3)
	f.Fuzz(func(t *testing.T, s string, from int) {
		if from < 0 || from > len(s) {
			from = 0
		}
		if m, ok := Next(s, from); ok && (m.Start < from || m.End <= m.Start || m.End > len(s)) {
			t.Errorf("%+v in %d bytes from %d", m, len(s), from)
		}
	})
}

func BenchmarkNextClean(b *testing.B) {
	text := "user 4711 requested /records/17 from 192.0.2.7 and was answered 200 in 12.5 ms; nothing to see in this line"
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, ok := Next(text, 0); ok {
			b.Fatal("false positive")
		}
	}
}

// Counted, not timed: what is read ahead of the walk grows with the text and
// no faster, also for texts in which tokens begin everywhere and never end.
func TestScanningIsLinear(t *testing.T) {
	units := []string{"eyJ-", "ZXlK-", "ops_eyJ-", "eyJ-.eyJ-", "eyJaaaaaaaa.", "eyJaaaaaaaa.eyJaaaaaaaa.", "fm2_", "xoxb-", "xapp-1-A-", "hvs.", "hvs.-", "ya29.", "ATATT3-", "-----BEGIN PRIVATE KEY-----", "1", "-1", "ops_eyJ.sntrys_eyJ="}
	for _, p := range patterns { // every literal beginning, over and over
		if first := compile(p.pattern)[0]; first.class == nil {
			units = append(units, first.literal, first.literal+"-", first.literal+"_")
		}
	}
	cost := func(s string) int {
		sc := NewScanner(s, &Runs{})
		for at := 0; ; {
			m, ok := sc.Next(at)
			if !ok {
				return sc.steps
			}
			at = m.End
		}
	}
	for _, u := range units {
		small, large := strings.Repeat(u, 4<<10/len(u)), strings.Repeat(u, 64<<10/len(u))
		if a, b := cost(small), cost(large); b > 17*a+1000 || b > 500*len(large) {
			t.Errorf("%q: %d steps for %d bytes, %d for %d", u, a, len(small), b, len(large))
		}
	}
}
