package jsonfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// checksumName is the member of an object that holds the object's checksum.
const checksumName = "checksum"

// checksumOf returns a checksum as it is stored: the algorithm, and the sum in hexadecimal.
func checksumOf(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// A compactor sums the JSON object that passes, without the blanks between its values and without
// the member that holds its checksum. So the sum is the same however the object is indented. What
// it sums of a text that is not a JSON object has no meaning.
type compactor struct {
	sum    hash.Hash
	lines  int // newlines so far
	blanks int // in a row, up to now

	depth             int
	inString, escaped bool
	out               []byte // to be summed; kept for its memory

	// Of the outermost object: a member is held until its name is known.
	member  memberState
	held    []byte // from the comma in front of it
	members int    // that were summed
	where   int    // the line of the one that was dropped
}

// A memberState says what becomes of the bytes of a member of the outermost object.
type memberState uint8

const (
	memberSummed  memberState = iota
	memberHeld                // its name is not known yet
	memberDropped             // it holds the checksum
)

func newCompactor() compactor { return compactor{sum: sha256.New()} }

// add takes the next bytes of the text.
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

// outermost takes a byte of the outermost object, or of a member of it that is not simply summed.
func (c *compactor) outermost(b byte) {
	switch {
	case b == ',' && c.depth == 1 && !c.inString:
		c.release()
		c.member, c.held = memberHeld, append(c.held, b)
	case c.depth <= 0: // the object has ended
		c.release()
		c.member = memberSummed
		c.out = append(c.out, b)
	case c.member == memberDropped:
	case c.member == memberHeld:
		c.held = append(c.held, b)
		name := bytes.TrimPrefix(c.held, []byte{','})
		switch {
		case string(name) == `"`+checksumName+`":`:
			c.member, c.held, c.where = memberDropped, c.held[:0], c.lines+1
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

// release sums the member that is held. The comma in front of the first one belongs to a member
// that was dropped.
func (c *compactor) release() {
	if c.member != memberHeld {
		return
	}
	if c.members++; c.members == 1 {
		c.held = bytes.TrimPrefix(c.held, []byte{','})
	}
	c.out = append(c.out, c.held...)
	c.member, c.held = memberSummed, c.held[:0]
}

// checksum returns the checksum of the text so far.
func (c *compactor) checksum() string { return checksumOf(c.sum) }
