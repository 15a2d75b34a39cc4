package text_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/inovy/hardening/internal/text"
)

func TestClip(t *testing.T) {
	for _, tt := range []struct {
		in   string
		most int
		want string
	}{
		{"", 3, ""}, {"abc", 3, "abc"}, {"abcd", 3, "abc..."}, {"aéé", 2, "a..."}, {"ééé", 1, "..."}, {"\x80\x80\x80", 2, "..."},
	} {
		if got := text.Clip(tt.in, tt.most); got != tt.want {
			t.Errorf("Clip(%q, %d) = %q, want %q", tt.in, tt.most, got, tt.want)
		}
	}
	if got := text.Clip(strings.Repeat("世", 1000), 80); !utf8.ValidString(got) || len(got) > 83 {
		t.Errorf("%q", got)
	}
}

func TestHasLineBreak(t *testing.T) {
	for s, want := range map[string]bool{"": false, "abc": false, "a\nb": true, "\r": true, "abc\n": true, "\v\u2028": false} {
		if text.HasLineBreak(s) != want {
			t.Errorf("%q: %t", s, !want)
		}
	}
}
