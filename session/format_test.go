package session

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fixedKeys derives from root keys in a way that testdata depends on.
type fixedKeys []string

func (fixedKeys) Generation() uint64 { return 1 }
func (k fixedKeys) Derive(purpose string, n int) [][]byte {
	var out [][]byte
	for _, root := range k {
		h := hmac.New(sha256.New, []byte(root))
		h.Write([]byte(purpose))
		out = append(out, h.Sum(nil)[:n])
	}
	return out
}

func keysOf(t testing.TB, roots ...string) *keyset {
	t.Helper()
	s, err := loadKeys(fixedKeys(roots))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// vectors are kept for ever: a new version must accept what an old one wrote.
type vectors struct {
	Comment string
	Root    string // purposes are derived as HMAC-SHA256(root, purpose)
	Cookies []struct{ Name, User, Tag, ID, Value, Hash, Event string }
	Records []struct {
		Comment, Tag, Hash, Plain, Sealed string
		Began                             int64 // unix microseconds
		User                              string
		AAL                               int
		Methods                           []string
		Data                              string
	}
}

func loadVectors(t testing.TB) vectors {
	t.Helper()
	b, err := os.ReadFile("testdata/format_v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Cookies) < 2 || len(v.Records) < 2 {
		t.Fatal("vectors are missing")
	}
	return v
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCookieVectors(t *testing.T) {
	v := loadVectors(t)
	keys := keysOf(t, "a root key that came later", v.Root)
	k := keys.keys[1]
	for _, c := range v.Cookies {
		tag := k.tagOf(c.User)
		if got := hex.EncodeToString(tag[:]); got != c.Tag {
			t.Errorf("%s: tag %s, want %s", c.Name, got, c.Tag)
		}
		var tok token
		tok[0] = 1
		copy(tok[1:], k.id[:])
		copy(tok[tagAt:], tag[:])
		copy(tok[idAt:], unhex(t, c.ID))
		tok.sign(k, c.Name)
		if got := tok.value(); got != c.Value {
			t.Errorf("%s: value\n got %s\nwant %s", c.Name, got, c.Value)
		}
		parsed, verdict := parseToken(keys, c.Name, c.Value)
		ref := parsed.ref()
		if verdict != genuine || ref.Tag != tag || hex.EncodeToString(ref.Hash[:]) != c.Hash || k.nameOf(ref) != c.Event {
			t.Errorf("%s: verdict %d, ref %x, event %s", c.Name, verdict, ref.Hash, k.nameOf(ref))
		}
	}
}

func TestRecordVectors(t *testing.T) {
	v := loadVectors(t)
	keys := keysOf(t, "a root key that came later", v.Root)
	for _, r := range v.Records {
		ref := Ref{Tag: Tag(unhex(t, r.Tag)), Hash: [32]byte(unhex(t, r.Hash))}
		c := content{began: time.UnixMicro(r.Began), user: r.User, aal: r.AAL, methods: r.Methods, data: []byte(r.Data)}
		if got := hex.EncodeToString(c.encode(keys.keys[1], ref, false)); got != r.Plain {
			t.Errorf("%s: plain\n got %s\nwant %s", r.Comment, got, r.Plain)
		}
		for _, form := range []struct {
			blob   string
			sealed bool
		}{{r.Plain, false}, {r.Sealed, true}} {
			got, err := decode(keys, ref, unhex(t, form.blob), form.sealed)
			if err != nil || !got.began.Equal(c.began) || got.user != c.user || got.aal != c.aal || !slices.Equal(got.methods, c.methods) || string(got.data) != r.Data {
				t.Errorf("%s, sealed %t: %+v, %v", r.Comment, form.sealed, got, err)
			}
		}
	}
}

// A sealed record opens only as it was sealed, where it was sealed.
func TestASealedRecordIsBoundToItsSession(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-11.3.3")
	keys := keysOf(t, "root")
	ref := Ref{Hash: [32]byte{1}}
	c := content{began: time.UnixMicro(1), user: "ada", aal: 1, data: []byte(`{"bsn":"999990019"}`)}
	blob := c.encode(keys.keys[0], ref, true)
	if bytes.Contains(blob, []byte("ada")) || bytes.Contains(blob, []byte("bsn")) {
		t.Fatal("the data is readable")
	}
	if got, err := decode(keys, ref, blob, true); err != nil || got.user != "ada" {
		t.Fatalf("%+v, %v", got, err)
	}
	for name, moved := range map[string]Ref{"hash": {Hash: [32]byte{2}}, "tag": {Tag: Tag{1}, Hash: ref.Hash}} {
		if _, err := decode(keys, moved, blob, true); err == nil {
			t.Errorf("opens under another %s", name)
		}
	}
	for i := range blob {
		bad := bytes.Clone(blob)
		bad[i] ^= 1
		if _, err := decode(keys, ref, bad, true); err == nil {
			t.Errorf("opens with byte %d changed", i)
		}
		if _, err := decode(keys, ref, blob[:i], true); err == nil {
			t.Errorf("opens cut to %d", i)
		}
	}
	if _, err := decode(keys, ref, c.encode(keys.keys[0], ref, false), true); err == nil {
		t.Error("a store may pass off a plain record as a sealed one")
	}
	if _, err := decode(keysOf(t, "another root"), ref, blob, true); err == nil {
		t.Error("opens under another key")
	}
}

func TestKeysAreFollowed(t *testing.T) {
	keys := keysOf(t, "one", "two")
	tok := newToken(keys.keys[1], "__Host-id", Tag{1})
	if _, v := parseToken(keys, "__Host-id", tok.value()); v != genuine {
		t.Error("an older key in force does not open")
	}
	if _, v := parseToken(keysOf(t, "one"), "__Host-id", tok.value()); v != foreign {
		t.Error("a key that is gone opens, or is taken for a forgery")
	}
	tok[macAt-1] ^= 1
	if _, v := parseToken(keys, "__Host-id", tok.value()); v != forged {
		t.Error("a forgery is not seen")
	}
}

// vectors3 are of the formats that came with devices and cookie stores.
type vectors3 struct {
	Comment, Root string
	Records       []struct {
		Tag, Hash, Plain, Sealed, User, Device, Data string
		Began                                        int64
		AAL                                          int
		Methods                                      []string
	}
	Cookies []struct {
		Name, Value, Token, Blob string
		Born, Expires            int64
	}
}

func loadVectors3(t testing.TB) vectors3 {
	t.Helper()
	b, err := os.ReadFile("testdata/format_v3.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors3
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Records) < 1 || len(v.Cookies) < 1 {
		t.Fatal("vectors are missing")
	}
	return v
}

func TestDeviceAndCookieVectors(t *testing.T) {
	v := loadVectors3(t)
	keys := keysOf(t, "a root key that came later", v.Root)
	for _, r := range v.Records {
		ref := Ref{Tag: Tag(unhex(t, r.Tag)), Hash: [32]byte(unhex(t, r.Hash))}
		c := content{began: time.UnixMicro(r.Began), user: r.User, aal: r.AAL, methods: r.Methods, device: r.Device, data: []byte(r.Data)}
		if got := hex.EncodeToString(c.encode(keys.keys[1], ref, false)); got != r.Plain {
			t.Errorf("%s: plain\n got %s\nwant %s", r.Device, got, r.Plain)
		}
		for _, form := range []struct {
			blob   string
			sealed bool
		}{{r.Plain, false}, {r.Sealed, true}} {
			got, err := decode(keys, ref, unhex(t, form.blob), form.sealed)
			if err != nil || got.device != r.Device || got.user != r.User || string(got.data) != r.Data {
				t.Errorf("sealed %t: %+v, %v", form.sealed, got, err)
			}
		}
	}
	// In a bubble it is the year 2000: securecookie's own limit of age must not
	// make these vectors fail some day.
	synctest.Test(t, func(t *testing.T) {
		for _, c := range v.Cookies {
			tok, rec, verdict := openCookie(keys, c.Name, c.Value)
			if verdict != genuine || hex.EncodeToString(tok[:macAt]) != c.Token || hex.EncodeToString(rec.Blob) != c.Blob || rec.Born.UnixMicro() != c.Born || rec.Expires.UnixMicro() != c.Expires {
				t.Errorf("verdict %d, %x, %+v", verdict, tok, rec)
			}
			if got := len(sealCookie(keys.keys[1], c.Name, tok, rec)); got != len(c.Value) || got != cookieSize(len(rec.Blob)) {
				t.Errorf("a value of %d bytes, then %d, reckoned %d", len(c.Value), got, cookieSize(len(rec.Blob)))
			}
		}
	})
}

func FuzzOpenCookie(f *testing.F) {
	v := loadVectors3(f)
	keys := keysOf(f, v.Root)
	for _, c := range v.Cookies {
		f.Add(c.Name, c.Value)
	}
	f.Add("__Host-id", "AAAAAA.")
	f.Fuzz(func(t *testing.T, name, value string) {
		if _, _, verdict := openCookie(keys, name, value); verdict != genuine {
			return
		}
		if !slices.ContainsFunc(v.Cookies, func(c struct {
			Name, Value, Token, Blob string
			Born, Expires            int64
		}) bool {
			return c.Name == name && c.Value == value
		}) {
			t.Errorf("a cookie that nobody sealed is genuine: %q under %q", value, name)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	v := loadVectors(f)
	keys := keysOf(f, v.Root)
	for _, c := range v.Cookies {
		f.Add(c.Name, c.Value)
	}
	f.Add("__Host-id", "")
	f.Add("__Host-id", strings.Repeat("A", valueSize))
	f.Fuzz(func(t *testing.T, name, value string) {
		tok, verdict := parseToken(keys, name, value)
		if verdict != genuine {
			return
		}
		if tok.value() != value { // one id, one cookie value: nothing is malleable
			t.Errorf("%q is another spelling of %q", value, tok.value())
		}
		if !slices.ContainsFunc(v.Cookies, func(c struct{ Name, User, Tag, ID, Value, Hash, Event string }) bool {
			return c.Name == name && c.Value == value
		}) {
			t.Errorf("a cookie that nobody signed is genuine: %q under %q", value, name)
		}
	})
}

func FuzzParseContent(f *testing.F) {
	for _, r := range loadVectors(f).Records {
		f.Add(unhex(f, r.Plain))
	}
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseContent(b)
		if err != nil {
			return
		}
		if !bytes.Equal(c.append(nil), b) || c.size() != len(b) {
			t.Errorf("%x reads as %+v, which is written as %x", b, c, c.append(nil))
		}
	})
}

func FuzzCandidates(f *testing.F) {
	f.Add("__Host-id=a; b=c;__Host-id=d")
	f.Add(";;==; __Host-id")
	f.Fuzz(func(t *testing.T, line string) {
		var out [maxCandidates]string
		n, _ := candidates(map[string][]string{"Cookie": {line}}, "__Host-id", &out)
		for _, v := range out[:n] {
			if !strings.Contains(line, "__Host-id="+v) || strings.Contains(v, ";") {
				t.Errorf("%q is not in %q", v, line)
			}
		}
	})
}
