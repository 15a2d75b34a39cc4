package auditlog

import (
	"fmt"
	"strings"
)

// anchoredAt holds a log against a checkpoint that was kept elsewhere.
type anchoredAt struct {
	cp  checkpoint // size 0: none
	met bool
}

func newAnchored(text []byte, c *chain) (*anchoredAt, error) {
	a := &anchoredAt{}
	if text == nil {
		return a, nil
	}
	signed, _, ok := strings.Cut(string(text), "\n\n")
	a.cp.note = text
	if err := a.cp.parse(signed+"\n", c.origin); !ok || err != nil || a.cp.size < 1 {
		return nil, fmt.Errorf("%w: it is empty, damaged, or of another log than %s", ErrAnchor, c.origin)
	}
	return a, nil
}

// meet is told of every checkpoint of the log.
func (a *anchoredAt) meet(c checkpoint, at *flaw) *flaw {
	if c.size != a.cp.size {
		return nil
	}
	a.met = true
	if c.root != a.cp.root {
		at.reason = fmt.Sprintf("the anchor saw other records among the first %d", c.size)
		return at
	}
	return nil
}

func (a *anchoredAt) verdict(c *chain) *flaw {
	n := c.signed.tree.size
	switch {
	case a.cp.size == 0 || a.met:
		return nil
	case a.cp.size < c.startSize:
		return &flaw{StatusUnverifiable, "", 0, -1, fmt.Sprintf("the anchor saw %d records, all of which were pruned since: it says nothing of those that are there; a newer one does", a.cp.size)}
	case a.cp.size > n:
		return &flaw{StatusBehindAnchor, "", 0, -1, fmt.Sprintf("the log has %d records, and the anchor saw %d: %d were removed", n, a.cp.size, a.cp.size-n)}
	}
	return &flaw{StatusTampered, "", 0, -1, fmt.Sprintf("the anchor saw a checkpoint over %d records, which is not in the log", a.cp.size)}
}
