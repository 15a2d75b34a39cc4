package session

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
	"unicode/utf8"
)

// The blob of a record, format 1, in the order of its bytes:
//
//	format   1 byte   0x01
//	began    8 bytes  when the login or the anonymous session began, unix microseconds
//	aal      1 byte   0 to 3; 0 for an anonymous session
//	user     2 bytes length, UTF-8; empty for an anonymous session
//	methods  1 byte count, then each 1 byte length, UTF-8
//	data     the rest, JSON; empty for the zero value
//
// Format 3 is format 1 with the device (1 byte length, not 0; UTF-8) between
// methods and data, for sessions that have one.
//
// Numbers are big-endian. A store outside this process gets format 2: 0x02,
// the id of the sealing key (4 bytes), and format 1 or 3 sealed with XAES-256-GCM
// with the record's Ref as additional data, so that one session's data cannot
// be passed off as another's. Test vectors are in testdata and kept for ever.
const (
	formatPlain  = 1
	formatSealed = 2
	formatDevice = 3
)

const (
	maxUser    = 255 // bytes of a user id
	maxMethods = 8
	maxMethod  = 32
	maxDevice  = 200
)

// content is what a record says.
type content struct {
	began   time.Time
	user    string // "" = anonymous
	aal     int
	methods []string
	device  string
	data    []byte // JSON, nil = the zero value
}

var errRecord = errors.New("session: a stored record does not read")

func (c *content) append(b []byte) []byte {
	format := byte(formatPlain)
	if c.device != "" {
		format = formatDevice
	}
	b = append(b, format)
	b = binary.BigEndian.AppendUint64(b, uint64(c.began.UnixMicro()))
	b = append(b, byte(c.aal))
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.user)))
	b = append(b, c.user...)
	b = append(b, byte(len(c.methods)))
	for _, m := range c.methods {
		b = append(b, byte(len(m)))
		b = append(b, m...)
	}
	if c.device != "" {
		b = append(b, byte(len(c.device)))
		b = append(b, c.device...)
	}
	return append(b, c.data...)
}

func (c *content) size() int {
	n := 1 + 8 + 1 + 2 + len(c.user) + 1 + len(c.data)
	if c.device != "" {
		n += 1 + len(c.device)
	}
	for _, m := range c.methods {
		n += 1 + len(m)
	}
	return n
}

// parseContent reads formats 1 and 3. The result's data shares memory with b.
func parseContent(b []byte) (content, error) {
	var c content
	if len(b) < 13 || b[0] != formatPlain && b[0] != formatDevice {
		return c, errRecord
	}
	began := binary.BigEndian.Uint64(b[1:])
	aal, user, rest := b[9], int(binary.BigEndian.Uint16(b[10:])), b[12:]
	if began > math.MaxInt64 || aal > 3 || user > maxUser || len(rest) < user+1 {
		return c, errRecord
	}
	if (aal == 0) != (user == 0) || !utf8.Valid(rest[:user]) {
		return c, errRecord
	}
	c.began, c.aal, c.user = time.UnixMicro(int64(began)), int(aal), string(rest[:user])
	methods := int(rest[user])
	rest = rest[user+1:]
	if methods > maxMethods {
		return c, errRecord
	}
	for range methods {
		if len(rest) == 0 || int(rest[0]) > maxMethod || len(rest) < 1+int(rest[0]) || !utf8.Valid(rest[1:1+rest[0]]) {
			return c, errRecord
		}
		c.methods = append(c.methods, string(rest[1:1+rest[0]]))
		rest = rest[1+rest[0]:]
	}
	if b[0] == formatDevice {
		if len(rest) == 0 || rest[0] == 0 || int(rest[0]) > maxDevice || len(rest) < 1+int(rest[0]) || !utf8.Valid(rest[1:1+rest[0]]) {
			return c, errRecord
		}
		c.device = string(rest[1 : 1+rest[0]])
		rest = rest[1+rest[0]:]
	}
	if len(rest) > 0 {
		c.data = rest
	}
	return c, nil
}

// encode makes the blob of a record.
func (c *content) encode(k *key, ref Ref, sealed bool) []byte {
	if !sealed {
		return c.append(make([]byte, 0, c.size()))
	}
	b := append([]byte{formatSealed}, k.id[:]...)
	return k.data.Seal(b, c.append(nil), additionalData(ref))
}

// decode reads the blob of a record. A store that must get sealed records and
// returns a plain one was tampered with.
func decode(s *keyset, ref Ref, blob []byte, sealed bool) (content, error) {
	if !sealed {
		return parseContent(blob)
	}
	if len(blob) < 1+keyIDSize || blob[0] != formatSealed {
		return content{}, errRecord
	}
	k := s.byID(blob[1 : 1+keyIDSize])
	if k == nil {
		return content{}, errRecord
	}
	plain, err := k.data.Open(nil, blob[1+keyIDSize:], additionalData(ref))
	if err != nil {
		return content{}, err
	}
	return parseContent(plain)
}

func additionalData(ref Ref) []byte {
	b := append([]byte("session/record/2\x00"), ref.Tag[:]...)
	return append(b, ref.Hash[:]...)
}
