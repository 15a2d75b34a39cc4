package secrets

import (
	"crypto/rand"
	"encoding/base64"
	"math"
	"testing"
)

// Sentences of 43 and more base64url characters, which decode to 32 bytes and
// more that look random.
var writtenKeys = []string{
	"This-Is-A-Very-Long-Development-Secret-Key-Ok",
	"ThisIsAVeryLongDevelopmentKeyForTheServiceOk",
	"The_Quick_Brown_Fox_Jumps_Over_The_Lazy_Dog1",
	"Please-Rotate-This-Key-Before-Production-2026",
	"Dit-Is-Een-Heel-Lang-Geheim-Voor-Het-Ziekenhuis",
	"MijnGeheimeSleutelVoorDeOntwikkelomgeving2026",
	"Correct_Horse_Battery_Staple_And_Some_More_Words",
	"base64:TheHospitalPlatformSessionKeyForDevelopers00",
	"welcomeToTheMachineWelcomeToTheMachineAgain11",
	"Acme-Portal-Staging-Cookie-Signing-Key-Number-7",
	"iLoveMyDogBuddyAndMyCatMisterWhiskersVeryMuch",
	"Winter2026-Summer2026-Spring2026-Autumn2026-Jan",
}

func TestSentencesAreNoKeys(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.2.3")
	for _, text := range writtenKeys {
		if key, ok := decodeKey([]byte(text)); ok && !wordy([]byte(text)) {
			t.Errorf("%q reads as %d random bytes", text, len(key))
		}
		if _, bad := checkKey([]byte(text), 256); bad == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

// The promise about random keys rests on the model being one: whatever the
// character before, the probabilities of all 64 must add up to one.
func TestTheModelOfSentencesIsADistribution(t *testing.T) {
	for _, others := range []string{"-_", "+/"} {
		alphabet := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" + others
		for _, before := range append([]byte(alphabet), 0) {
			sum := 0.0
			for _, c := range []byte(alphabet) {
				sum += math.Exp2(wordModel.bits(before, c)) / 64
			}
			if math.Abs(sum-1) > 1e-9 {
				t.Fatalf("after %q the probabilities add up to %v", before, sum)
			}
		}
	}
}

// How far random keys stay away from the threshold.
func TestRandomKeysAreFarFromSentences(t *testing.T) {
	most := math.Inf(-1)
	raw := make([]byte, 32)
	for range 20_000 {
		_, _ = rand.Read(raw)
		sum, before := 0.0, byte(0)
		for _, c := range []byte(base64.RawURLEncoding.EncodeToString(raw)) {
			sum += wordModel.bits(before, c)
			before = c
		}
		most = max(most, sum)
	}
	if most > 20 { // P <= 20000 * 2^-18
		t.Errorf("a random key scored %v bits of %v", most, wordyBits)
	}
	t.Logf("the best of 20000 scored %.1f bits, the threshold is %v", most, wordyBits)
}

func BenchmarkCheckKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = checkKey([]byte(testKeys[0]), 256)
	}
}
