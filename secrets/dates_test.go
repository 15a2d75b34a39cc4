package secrets

import (
	"testing"
	"time"
)

func TestDatesAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-01": "2026-11-01T00:00:00Z", "2026-11-01T08:30:00Z": "2026-11-01T08:30:00Z", "2026-11-01T08:30:00+01:00": "2026-11-01T07:30:00Z",
		"2026-11-01\n": "2026-11-01T00:00:00Z", "2026-11-01T08:30:00.5Z": "2026-11-01T08:30:00Z",
		"": "", "2026-11": "", "01-11-2026": "", "2026-11-01 08:30:00": "", "2026-13-01": "", "1767225600": "", " 2026-11-01": "", "2026-11-01\n\n": "", "0001-01-01": "", "2026-11-01T08:30:00": "",
	} {
		got, _, ok := parseDate([]byte(text))
		if ok != (want != "") || ok && got.Format(time.RFC3339) != want {
			t.Errorf("%q: %v, %v", text, got, ok)
		}
	}
}

func FuzzDates(f *testing.F) {
	f.Add([]byte("eyJhbGciOiJub25lIn0.eyJpYXQiOjE3NjcyMjU2MDAsImV4cCI6MTc2NzIyNTYwMX0.x"))
	f.Add([]byte("https://a.example/c?sv=2024-11-04&st=2026-01-01&se=2026-02-01T00:00Z&sig=abc"))
	f.Add([]byte("SharedAccessSignature sr=a&sig=b&se=1767225600&skn=c"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Add([]byte(`{"created":"2026-01-01","expires":"2027-01-01"}`))
	f.Add([]byte("2026-01-01T00:00:00Z"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for k := range kindPEM + 1 {
			d := datesInside(k, text)
			if d.basis == "" && !d.silent() {
				t.Errorf("%v: dates without a proof: %+v", k, d)
			}
			if y := d.expires.Year(); y > 9999 {
				t.Errorf("the year %d", y)
			}
		}
		var d dates
		if bad := d.stateMeta("S.meta", text); bad != nil && (bad.reason == "" || bad.fix == "") {
			t.Errorf("%+v", bad)
		}
		if at, _, ok := parseDate(text); ok && at.Year() < 1970 {
			t.Errorf("%v", at)
		}
	})
}
