package jsonfile

import (
	"bytes"
	"io"
)

// Bounds of any text. What a decoder needs at a time is a few times as much.
const (
	// maxChunk bounds one read, so that what is counted is not far ahead of what is decoded.
	maxChunk = 64 << 10
	// maxBlanks bounds blanks in a row, which the decoder keeps.
	maxBlanks = 64 << 10
	// DefaultPiece is Limits.Piece unless that is set.
	DefaultPiece = 32 << 20
	// bytesPerMark is how long a piece must be for each mark in it, see marks.
	bytesPerMark = 16
)

// marks counts what decoding a text costs beyond the text itself: 16 for each object, 4 for each of
// its members, 1 for each further value. A list of empty objects takes a hundred times its text.
func marks(text []byte) int {
	objects, members := bytes.Count(text, []byte("{")), bytes.Count(text, []byte(":"))
	return 16*objects + 4*members + bytes.Count(text, []byte(","))
}

// A text is what a decoder reads, looked at as it passes: how long it is, where its lines are, and
// its checksum.
type text struct {
	compactor
	r io.Reader
	// size and marks are of everything that has passed and is in no part that was decoded.
	size, marks int
	piece       int   // Limits.Piece
	err         error // of an earlier read
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
		t.err = &readError{&sizeError{"of blanks", maxBlanks}}
	case t.size > t.piece:
		t.err = &readError{&sizeError{"in one piece", int64(t.piece)}}
	case t.marks > t.piece/bytesPerMark:
		t.err = &readError{&sizeError{}}
	default:
		return n, err
	}
	return n, t.err
}

// forget takes a part that was decoded out of what is counted.
func (t *text) forget(part []byte) {
	t.size -= len(part)
	t.marks -= marks(part)
}
