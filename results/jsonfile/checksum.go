package jsonfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// checksumName is the name of the member of an object that holds the object's checksum.
const checksumName = "checksum"

// checksumOf returns a checksum in its stored form: the algorithm, and the sum in hexadecimal.
func checksumOf(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// A compactor computes the checksum of the JSON object that passes through it. It skips white space
// between values, and the member that holds the checksum. So the sum does not depend on
// indentation. For a text that is not a JSON object, the sum has no meaning.
type compactor struct {
	sum    hash.Hash
	lines  int // newlines so far
	blanks int // length of the current run of white space

	depth             int
	inString, escaped bool
	out               []byte // bytes to be added to the sum; reused

	// A member of the outermost object is held back until its name is known.
	member  memberState
	pending []byte // the held member, with the comma before it
	members int    // number of members in the sum so far
	where   int    // the line of the dropped member
}

// A memberState says what to do with the bytes of a member of the outermost object.
type memberState uint8

const (
	memberSummed  memberState = iota
	memberHeld                // its name is not known yet
	memberDropped             // it holds the checksum
)

func newCompactor() compactor { return compactor{sum: sha256.New()} }

// add processes the next bytes of the text.
func (c *compactor) add(text []byte) {
	c.out = c.out[:0]
	for _, b := range text {
		if b == '\n' {
			c.lines++
		}
		switch {
		case c.inString:
			if c.escaped {
				c.escaped = false
			} else if b == '\\' {
				c.escaped = true
			} else if b == '"' {
				c.inString = false
			}
		case b == ' ', b == '\t', b == '\r', b == '\n':
			c.blanks++
			continue
		default:
			c.blanks = 0
			switch b {
			case '"':
				c.inString = true
			case '{', '[':
				c.depth++
			case '}', ']':
				c.depth--
			}
		}
		if c.depth > 1 && c.member == memberSummed {
			c.out = append(c.out, b)
		} else {
			c.outermost(b)
		}
	}
	c.sum.Write(c.out)
}

// outermost processes a byte of the outermost object, or of a member that is held or dropped.
func (c *compactor) outermost(b byte) {
	switch {
	case b == ',' && c.depth == 1 && !c.inString:
		c.release()
		c.member, c.pending = memberHeld, append(c.pending, b)
	case c.depth <= 0: // the object has ended
		c.release()
		c.member = memberSummed
		c.out = append(c.out, b)
	case c.member == memberDropped:
	case c.member == memberHeld:
		c.pending = append(c.pending, b)
		name := bytes.TrimPrefix(c.pending, []byte{','})
		switch {
		case string(name) == `"`+checksumName+`":`:
			c.member, c.pending, c.where = memberDropped, c.pending[:0], c.lines+1
		case len(name) > len(checksumName)+2:
			c.release()
		}
	default:
		c.out = append(c.out, b)
		if b == '{' && !c.inString {
			c.member = memberHeld
		}
	}
}

// release adds the held member to the sum. Before the first member in the sum, it omits the comma,
// which separates that member from a dropped one.
func (c *compactor) release() {
	if c.member != memberHeld {
		return
	}
	if c.members++; c.members == 1 {
		c.pending = bytes.TrimPrefix(c.pending, []byte{','})
	}
	c.out = append(c.out, c.pending...)
	c.member, c.pending = memberSummed, c.pending[:0]
}

// checksum returns the checksum of the text so far.
func (c *compactor) checksum() string { return checksumOf(c.sum) }
