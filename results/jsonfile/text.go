package jsonfile

import (
	"bytes"
	"io"
)

// Bounds that hold for every text. The memory of a decoder is a few times larger.
const (
	// maxChunk bounds one read, so that the limits are checked soon after decoding.
	maxChunk = 64 << 10
	// maxBlanks bounds a run of white space, which the decoder buffers.
	maxBlanks = 64 << 10
	// DefaultPiece is the default of Limits.Piece.
	DefaultPiece = 32 << 20
	// bytesPerMark: a piece has at most one mark for each bytesPerMark bytes of Limits.Piece; see
	// marks.
	bytesPerMark = 16
)

// marks estimates the memory that decoding a text needs in addition to the text itself, in marks:
// 16 for each object, 4 for each of its members, 1 for each further value. It bounds, for example,
// a list of empty objects, which takes a hundred times the memory of its text.
func marks(text []byte) int {
	objects, members := bytes.Count(text, []byte("{")), bytes.Count(text, []byte(":"))
	return 16*objects + 4*members + bytes.Count(text, []byte(","))
}

// A text passes input to a decoder, and computes the input's length, line count and checksum.
type text struct {
	compactor
	r io.Reader
	// size and marks cover everything read so far, except decoded parts.
	size, marks int
	piece       int   // Limits.Piece
	err         error // the first error of Read
}

// Read implements io.Reader. Errors other than io.EOF are a readError.
func (t *text) Read(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	n, err := t.r.Read(p[:min(len(p), maxChunk)])
	t.size += n
	t.marks += marks(p[:n])
	t.compactor.add(p[:n])
	switch {
	case err != nil && err != io.EOF:
		t.err = &readError{err}
	case t.blanks > maxBlanks:
		t.err = &readError{&sizeError{"of white space", maxBlanks}}
	case t.size > t.piece:
		t.err = &readError{&sizeError{"in one piece", int64(t.piece)}}
	case t.marks > t.piece/bytesPerMark:
		t.err = &readError{&sizeError{}}
	default:
		return n, err
	}
	return n, t.err
}

// forget subtracts a decoded part from size and marks.
func (t *text) forget(part []byte) {
	t.size -= len(part)
	t.marks -= marks(part)
}
