package secrets

import (
	"errors"
	"fmt"
	"math/bits"
	"reflect"
	"strconv"
)

// setPublic parses text into a field, or says what is wrong without a word of
// the text. The errors of strconv and time quote it.
func setPublic(v reflect.Value, text string) (reason string) {
	switch {
	case v.Type() == durationType:
		d, ok := parseDuration(text)
		if !ok {
			return "is not a duration"
		}
		v.SetInt(int64(d))
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return "is not true or false"
		}
		v.SetBool(b)
	case v.CanInt():
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return numberReason(err, v.Type())
		}
		v.SetInt(n)
	case v.CanUint():
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return numberReason(err, v.Type())
		}
		v.SetUint(n)
	}
	return ""
}

func numberReason(err error, t reflect.Type) string {
	if errors.Is(err, strconv.ErrRange) {
		size := t.Bits()
		if size == 0 {
			size = bits.UintSize
		}
		return fmt.Sprintf("does not fit %d bits", size)
	}
	return "is not a whole number"
}
