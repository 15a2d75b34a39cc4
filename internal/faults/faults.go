// Package faults collects every fault of a Config, so that a room's New names
// them all at once.
package faults

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/text"
)

// Collector gathers faults of one room. The zero value lacks the room's name;
// use [For]. It is not safe for concurrent use: New is one goroutine.
type Collector struct {
	room string
	errs []error
}

// For returns an empty collector for the room.
func For(room string) *Collector { return &Collector{room: room} }

// Add records a fault with the value that was found. The value is formatted
// with %v and shortened to 80 bytes; never pass a secret. A URL or host that
// holds credentials or a query is not shown: people paste what they should not.
func (c *Collector) Add(field string, value any, reason, fix string) {
	shown := fmt.Sprint(value)
	if holdsCredentials(shown) {
		shown = hardening.Redacted
	}
	c.add(field, text.Clip(shown, 80), reason, fix)
}

// holdsCredentials reports whether s has the shape of user:password@host, of a
// URL with a query, or of a file's content.
func holdsCredentials(s string) bool {
	if strings.Contains(s, "-----") || len(s) > 40 && strings.ContainsAny(s, "\n\r") {
		return true // PEM, or another file's content, where a name or path belongs
	}
	before, _, at := strings.Cut(s, "@")
	_, rest, isURL := strings.Cut(s, "://")
	return at && strings.Contains(strings.TrimPrefix(before, "//"), ":") || isURL && strings.Contains(rest, "?")
}

// NilInside records a fault, and returns true, if v is an interface that holds
// a nil pointer: calling it would panic in the middle of a request.
func (c *Collector) NilInside(field string, v any, fix string) bool {
	if v == nil {
		return false
	}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && r.IsNil() {
		c.Missing(field, "holds a nil pointer", fix)
		return true
	}
	return false
}

// Name records a fault if name, which stands in findings and events, is longer
// than 64 bytes or holds what does not print. An empty one is none: it stands
// for the room's own.
func (c *Collector) Name(field, name string) {
	if !text.IsName(name) {
		c.Add(field, name, "is no name: it is longer than 64 bytes or holds control characters", `name the instance in a word or two, as in "admin"`)
	}
}

// Missing records a fault of a field that holds nothing worth showing.
func (c *Collector) Missing(field, reason, fix string) { c.add(field, "", reason, fix) }

// Secret records a fault of a field whose value must not be shown.
func (c *Collector) Secret(field, reason, fix string) {
	c.add(field, hardening.Redacted, reason, fix)
}

// Join adds another error that is already a fault or a tree of faults.
func (c *Collector) Join(err error) {
	if err != nil {
		c.errs = append(c.errs, err)
	}
}

func (c *Collector) add(field, value, reason, fix string) {
	c.errs = append(c.errs, &hardening.ConfigError{
		Room: c.room, Field: field, Value: value, Reason: reason, Fix: fix,
	})
}

// Len is the number of entries collected so far.
func (c *Collector) Len() int { return len(c.errs) }

// Err returns all faults joined, or nil if there are none.
func (c *Collector) Err() error { return errors.Join(c.errs...) }
