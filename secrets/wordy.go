package secrets

import (
	"bytes"
	"math"
)

// wordyBits is how much better than chance our model of written text must
// explain a key before we call it written. For any model whose probabilities
// add up to one, a random text reaches n bits with a probability of at most
// 2^-n (Markov's inequality). Two bits are kept for the last character of
// base64, of which not every value occurs: 2^-34 is 6e-11.
const wordyBits = 36

// notWordyBits is where wordy stops to look: no sentence begins so.
const notWordyBits = -24

// wordy reports whether base64 text reads as a sentence: This-Is-My-Secret-Key
// decodes like any random key and keeps every rule about bytes.
func wordy(text []byte) bool {
	text, _ = bytes.CutPrefix(text, []byte("base64:"))
	text = bytes.TrimRight(text, "=")
	sum, before := 0.0, byte(0)
	for _, c := range text {
		sum += wordModel.bits(before, c)
		if sum < notWordyBits { // as random text is after a dozen characters
			return false
		}
		before = c
	}
	return sum >= wordyBits
}

// wordModel tells, for a character after another, log2 of how much likelier it
// is in a sentence than among 64 equally likely ones. It is never changed.
var wordModel = newModel()

// model holds log2 of probabilities.
type model struct {
	class   [3][3]float64
	capital [3][2]float64 // of a small letter and a capital, by what is before: small letter, capital, other
	letters [26][26]float64
}

// letterPairs holds a line for each letter: how often each letter follows it
// inside a word, as a power of two (0 is rare, 9 is half of the time). Counted
// over the comments of Go's standard library and, for a fifth, Dutch prose.
const letterPairs = "" +
	"45660450404758050768441240" +
	"63518300640710700662600071" +
	"71417137506540820437420020" +
	"53469220710432723562532340" +
	"53675444403557143876243521" +
	"50336710803632820666600030" +
	"51349137603425800554540000" +
	"70009000700120600336400000" +
	"44656560053658630477040203" +
	"40067007108028420061600000" +
	"71229240605625520065502020" +
	"70368210704700720256522060" +
	"85048130601362770043500000" +
	"61687473503433620077330030" +
	"43564720404568560846664000" +
	"72438133502630760756502050" +
	"23642210100462034452902104" +
	"62468352703456620566542040" +
	"52548215605522651368601050" +
	"61517208700320730664504160" +
	"45546440600757250777000300" +
	"84459203600342553543044200" +
	"71428107800335710652203001" +
	"64647501600244580238311430" +
	"12405000400676380677102013" +
	"60208000800300700400001223"

func newModel() *model {
	m := &model{}
	for i, row := range classAfter {
		for j, p := range row {
			m.class[i][j] = 6 + math.Log2(p/choices[j])
		}
	}
	for i, p := range capitalAfter {
		m.capital[i] = [2]float64{math.Log2(1 - p), math.Log2(p)}
	}
	for i := range m.letters {
		weight := func(j int) float64 { return math.Exp2(float64(letterPairs[26*i+j] - '0')) }
		sum := 0.0
		for j := range m.letters[i] {
			sum += weight(j)
		}
		for j := range m.letters[i] {
			m.letters[i][j] = math.Log2(26 * weight(j) / sum)
		}
	}
	return m
}

// The classes of characters: a letter, a digit, or one of the two others of an
// alphabet, which stand between words.
const (
	isLetter = iota
	isDigit
	isSeparator
)

func classOf(c byte) int {
	switch {
	case c|0x20 >= 'a' && c|0x20 <= 'z':
		return isLetter
	case c >= '0' && c <= '9':
		return isDigit
	}
	return isSeparator
}

// Probabilities of sentences, guessed; each row adds up to one. A bad guess
// makes wordy blind, never wrong about a random key.
var (
	classAfter = [3][3]float64{ // of the class by that of the character before
		isLetter:    {0.80, 0.06, 0.14},
		isDigit:     {0.40, 0.45, 0.15},
		isSeparator: {0.90, 0.08, 0.02}, // and at the beginning
	}
	capitalAfter = [3]float64{0.12, 0.25, 0.5} // after a small letter, a capital, other
	choices      = [3]float64{isLetter: 26, isDigit: 10, isSeparator: 2}
)

func (m *model) bits(before, c byte) float64 {
	from, class, kind := isSeparator, classOf(c), 2
	if before != 0 {
		from = classOf(before)
	}
	out := m.class[from][class]
	if class != isLetter {
		return out
	}
	small := c&0x20 != 0
	if from == isLetter {
		kind = 1 - int(before&0x20>>5)
	}
	if small {
		out += m.capital[kind][0]
	} else {
		out += m.capital[kind][1]
	}
	if kind == 1 || kind == 0 && small { // inside a word
		out += m.letters[before&0x1f-1][c&0x1f-1]
	}
	return out
}
