package input

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
)

// A DamagedError is the error of a compressed file that is damaged or cut off.
type DamagedError struct{ What string }

func (e *DamagedError) Error() string { return e.What }

// gzipMagic begins every gzip file (RFC 1952, 2.3.1).
const gzipMagic = "\x1f\x8b"

// Decompressed returns a reader for r. If the first bytes of r are those of a gzip file, the reader
// decompresses it. Its error for an invalid gzip file is a DamagedError.
func Decompressed(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(r)
	if start, err := buffered.Peek(len(gzipMagic)); err != nil || string(start) != gzipMagic {
		return buffered, nil // reads of buffered return the error again
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

// inGzip wraps an error of package gzip in a DamagedError. It returns other errors unchanged: they
// come from the underlying file.
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
