package secrets

import (
	"bytes"
	"database/sql/driver"
	"errors"
	"fmt"
)

// ErrNoRow says that a [Cell] has no row id to be bound to.
var ErrNoRow = errors.New("secrets: the cell has no row id")

// Column seals what stands in one column of a database: tokens of other
// services, one-time codes, anything that a stolen backup must not show. Each
// value is bound to the purpose and to the id of its row, so that a value that
// was copied to another row or column does not open there. Make one with
// [Ring.Column]. It is safe for concurrent use.
type Column struct {
	opaque
	_    [0]func()
	ring *Ring
	s    *sealer
}

// Column returns the column with this purpose, which names table and column
// and never changes, as in "orders.refresh_token": its keys are derived from
// the ring by it. Make a Column once and keep it; it follows the ring when keys
// change. Without a purpose, nothing seals or opens.
func (r *Ring) Column(purpose string) *Column {
	c := &Column{ring: r, s: &sealer{}}
	if purpose != "" {
		c.s.info = columnInfo + purpose
	}
	return c
}

// Row returns the cell of one row, to scan into or to store. id is what the
// value is bound to: the primary key as text. It must be known when the value
// is stored, so let the program choose it (a UUID) rather than a sequence, and
// it must not change.
func (c *Column) Row(id string) *Cell { return &Cell{column: c, id: id} }

// Cell is one value of a [Column]: a [database/sql.Scanner] that opens what
// stands in the database, and a [driver.Valuer] that seals what will stand
// there. The zero Secret and NULL are each other; a destroyed one is [ErrNoValue].
// A Cell is for one goroutine.
type Cell struct {
	opaque
	_ [0]func()
	// Secret is the value itself: set it before storing, read it after scanning.
	Secret Secret

	column *Column
	id     string
	stale  bool
}

// Scan opens what was read from the database: text, bytes, or nil for NULL. A
// value of another row or column, or one that was changed, is [ErrOpen]; then
// Secret is zero.
func (c *Cell) Scan(src any) error {
	c.Secret, c.stale = Secret{}, false
	var sealed string
	switch v := src.(type) {
	case nil:
		return nil
	case string:
		sealed = v
	case []byte:
		sealed = string(v)
	default:
		return fmt.Errorf("%w: the column is of type %T, not of text", ErrOpen, src)
	}
	inner, err := c.inner()
	if err != nil {
		return err
	}
	text, stale, err := c.column.s.open(inner, sealed, []byte(c.id))
	if err != nil {
		return err
	}
	defer clear(text)
	if len(text) > 0 {
		c.Secret = newVault(1).seal(bytes.Clone(text))
	}
	c.stale = stale
	return nil
}

// Value seals Secret for the database. It returns [ErrNoRow], [ErrNoKey],
// [ErrTooLarge], or [ErrNoValue] if Secret was destroyed.
func (c *Cell) Value() (driver.Value, error) {
	if c == nil || c.Secret.p == nil { // a destroyed one is no NULL: that would erase the row
		return nil, nil
	}
	inner, err := c.inner()
	if err != nil {
		return nil, err
	}
	var sealed string
	err = c.Secret.Use(func(text []byte) (err error) {
		sealed, err = c.column.s.seal(inner, text, []byte(c.id))
		return err
	})
	if err != nil {
		return nil, err
	}
	return sealed, nil
}

// Stale reports whether what Scan opened was sealed under an older key than the
// primary, which will retire: store the cell again.
func (c *Cell) Stale() bool { return c.stale }

func (c *Cell) inner() (*ringBox, error) {
	if c.id == "" {
		return nil, ErrNoRow
	}
	if c.column == nil || c.column.s == nil || c.column.s.info == "" {
		return nil, ErrNoKey
	}
	inner := c.column.ring.inner()
	if inner == nil {
		return nil, ErrNoKey
	}
	return inner, nil
}
