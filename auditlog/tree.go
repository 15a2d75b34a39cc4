package auditlog

import (
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// tree is the part of a Merkle tree (RFC 6962) that appending needs: the roots
// of its complete subtrees, largest first, at most log2(size)+1 of them. The
// zero tree is empty.
type tree struct {
	size  int64
	roots []tlog.Hash
}

// add appends a leaf.
func (t *tree) add(leaf tlog.Hash) {
	h := leaf
	for n := t.size; n&1 == 1; n >>= 1 { // each trailing one is a subtree as large as ours
		last := len(t.roots) - 1
		h = tlog.NodeHash(t.roots[last], h)
		t.roots = t.roots[:last]
	}
	t.roots = append(t.roots, h)
	t.size++
}

// root is the hash of the whole tree, as tlog.TreeHash computes it.
func (t *tree) root() tlog.Hash {
	if t.size == 0 {
		h, _ := tlog.TreeHash(0, nil)
		return h
	}
	h := t.roots[len(t.roots)-1]
	for i := len(t.roots) - 2; i >= 0; i-- {
		h = tlog.NodeHash(t.roots[i], h)
	}
	return h
}

// wellFormed reports whether there are as many roots as a tree of this size has.
func (t *tree) wellFormed() bool {
	return t.size >= 0 && len(t.roots) == bits.OnesCount64(uint64(t.size))
}

func (t *tree) clone() tree { return tree{t.size, slices.Clone(t.roots)} }
