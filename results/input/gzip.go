package input

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
)

// A DamagedError is the error of a compressed file that gzip did not write, or not all of which is
// there.
type DamagedError struct{ What string }

func (e *DamagedError) Error() string { return e.What }

// gzipMagic begins every gzip file (RFC 1952, 2.3.1).
const gzipMagic = "\x1f\x8b"

// Decompressed returns a reader of what r reads, decompressed if that is a gzip file: its first
// bytes say so, whatever it is called. The error of what gzip cannot read is a DamagedError.
func Decompressed(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(r)
	if start, err := buffered.Peek(len(gzipMagic)); err != nil || string(start) != gzipMagic {
		return buffered, nil // an error comes again when it is read
	}
	packed, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, inGzip(err)
	}
	return &decompressed{packed}, nil
}

type decompressed struct{ r io.Reader }

func (d *decompressed) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF {
		err = inGzip(err)
	}
	return n, err
}

// inGzip returns what an error of package gzip means. The errors of the file beneath stay as they
// are.
func inGzip(err error) error {
	var path *fs.PathError
	switch {
	case errors.As(err, &path):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), err == io.EOF:
		return &DamagedError{"the compressed file is cut off"}
	}
	return &DamagedError{"the compressed file is damaged"}
}
