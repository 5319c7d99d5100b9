package jsonfile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// Indent is the indentation of a file for human readers.
const Indent = "  "

// Encode writes a value on one line without a newline, as encoding/json does. It also escapes
// characters that are not printable. It buffers little of its output.
func Encode(w io.Writer, v any) error { return encode(w, v) }

// EncodeIndented is like Encode, but puts each value on a line of its own, indented by Indent, and
// ends with a newline.
func EncodeIndented(w io.Writer, v any) error {
	if err := encode(w, v, jsontext.WithIndent(Indent)); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// EncodeFolded is like EncodeIndented, but writes a list or object that is inside of depth others
// on one line, without spaces.
func EncodeFolded(w io.Writer, v any, depth int) error {
	return EncodeIndented(&folder{w: w, depth: depth}, v)
}

// EncodedSize returns the length of Encode's output.
func EncodedSize(v any) (int64, error) {
	var n counter
	err := encode(&n, v)
	return int64(n), err
}

// Checksum returns the checksum of a value as the functions above write it; see Decoder.Checksum.
// The value must not contain its checksum.
func Checksum(v any) (string, error) {
	sum := sha256.New()
	err := encode(sum, v)
	return checksumOf(sum), err
}

func encode(w io.Writer, v any, options ...jsontext.Options) error {
	out := &printable{w: w}
	options = append(options, jsonv1.DefaultOptionsV1(),
		jsonv1.ReportErrorsWithLegacySemantics(false), jsontext.EscapeForHTML(false))
	err := json.MarshalWrite(out, v, options...)
	var semantic *json.SemanticError
	switch {
	case out.err != nil:
		return out.err
	case errors.As(err, &semantic):
		return fmt.Errorf("%s: %w", pathOf(semantic.JSONPointer), semantic.Err)
	}
	return err
}

// A folder is a writer that removes the white space from lists and objects that are inside of depth
// others.
type folder struct {
	w                 io.Writer
	depth             int
	inside            int // the number of lists and objects around the next byte
	inString, escaped bool
	out               []byte // reused
}

// Write implements io.Writer.
func (f *folder) Write(text []byte) (int, error) {
	f.out = f.out[:0]
	for _, b := range text {
		switch {
		case f.inString:
			f.inString = b != '"' || f.escaped
			f.escaped = b == '\\' && !f.escaped
		case (b == ' ' || b == '\n') && f.inside > f.depth:
			continue
		case b == '"':
			f.inString = true
		case b == '{', b == '[':
			f.inside++
		case b == '}', b == ']':
			f.inside--
		}
		f.out = append(f.out, b)
	}
	if _, err := f.w.Write(f.out); err != nil {
		return 0, err
	}
	return len(text), nil
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// A printable is a writer that escapes characters that are not printable, as JSON does. The encoder
// has already escaped most control characters. The rest are DEL, C1 controls, and marks that change
// the writing direction.
type printable struct {
	w    io.Writer
	tail []byte // the first bytes of an incomplete character
	out  []byte // reused
	err  error  // the first error
}

// Write implements io.Writer.
func (p *printable) Write(text []byte) (int, error) {
	out := text
	if len(p.tail) > 0 || !isPlain(text) {
		p.out = p.out[:0]
		rest := append(p.tail, text...)
		for utf8.FullRune(rest) {
			r, size := utf8.DecodeRune(rest)
			switch {
			case r == '\n', unicode.IsPrint(r):
				p.out = append(p.out, rest[:size]...)
			case r > 0xffff:
				high, low := utf16.EncodeRune(r)
				p.out = fmt.Appendf(p.out, `\u%04x\u%04x`, high, low)
			default:
				p.out = fmt.Appendf(p.out, `\u%04x`, r)
			}
			rest = rest[size:]
		}
		p.tail = append(p.tail[:0], rest...)
		out = p.out
	}
	if p.err == nil {
		_, p.err = p.w.Write(out)
	}
	return len(text), p.err
}

// isPlain reports whether a text has only printable ASCII characters and newlines.
func isPlain(text []byte) bool {
	for _, b := range text {
		if (b < ' ' || b > '~') && b != '\n' {
			return false
		}
	}
	return true
}
