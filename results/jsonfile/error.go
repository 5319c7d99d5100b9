package jsonfile

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"reuseport-bench/results/input"
)

// A Place is a position in a text.
type Place struct {
	Line int    // from 1; 0 if unknown
	Path string // "scenarios[0].trials[3].attempts"; "" for the whole text
}

// An Error is a mistake in a text, and its place.
type Error struct {
	Place
	What string
	// Syntax: the text is not JSON, or is cut off. If false, the text is JSON, but not of the
	// expected form.
	Syntax bool
	// TooLarge: the text exceeds the Decoder's limits.
	TooLarge bool

	err error // the error from reading the text, or nil
}

func (e *Error) Error() string {
	if e.Path == "" {
		return e.What
	}
	return e.Path + ": " + e.What
}

func (e *Error) Unwrap() error { return e.err }

// A readError is an error from reading a text, as opposed to decoding it.
type readError struct{ error }

func (e *readError) Unwrap() error { return e.error }

// A sizeError is the error for a text that exceeds a limit. what says of what there is too much, in
// bytes; it is "" for too many values.
type sizeError struct {
	what  string
	limit int64
}

func (e *sizeError) Error() string {
	switch {
	case e.what == "":
		return "too many values"
	case e.limit < 1<<20:
		return fmt.Sprintf("more than %d KiB %s", e.limit>>10, e.what)
	}
	return fmt.Sprintf("more than %d MiB %s", e.limit>>20, e.what)
}

// atEnd stands for the offset at which reading ended.
const atEnd = math.MaxInt64

// explain returns the *Error for an error from the decoder.
func (d *Decoder) explain(err error) error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	e, offset := newError("", err)
	unread := d.json.UnreadBuffer()
	// The error is in the unread text that begins with the last value. Count its lines up to the
	// error.
	ahead := max(0, min(offset-d.json.InputOffset(), int64(len(unread))))
	e.Line = d.Line() + bytes.Count(unread[:ahead], []byte("\n"))
	return e
}

// newError returns the *Error for an error in decoding the value at a pointer, without its line. It
// also returns the error's offset in the value's text, or atEnd if reading ended there.
func newError(at jsontext.Pointer, err error) (e *Error, offset int64) {
	var (
		large     *input.TooLargeError
		size      *sizeError
		packed    *input.DamagedError
		read      *readError
		syntactic *jsontext.SyntacticError
		semantic  *json.SemanticError
	)
	switch {
	case err == io.EOF:
		return &Error{What: "it is empty", Syntax: true}, 0
	case errors.As(err, &large):
		return &Error{What: fmt.Sprintf("more than %d MiB", large.Limit>>20), TooLarge: true}, atEnd
	case errors.As(err, &size):
		return &Error{What: size.Error(), TooLarge: true}, atEnd
	case errors.As(err, &packed):
		return &Error{What: packed.What, Syntax: true}, atEnd
	case errors.As(err, &read):
		why := read.error
		var path *fs.PathError
		if errors.As(why, &path) {
			why = path.Err // the caller names the file
		}
		return &Error{What: "it cannot be read: " + why.Error(), err: why}, atEnd
	case errors.As(err, &syntactic):
		// Leave out the path: the names in it are wrong once the decoder has overwritten them in
		// its buffer.
		return &Error{What: syntaxText(syntactic), Syntax: true}, syntactic.ByteOffset
	case errors.As(err, &semantic):
		if errors.Is(semantic.Err, json.ErrUnknownName) {
			e = &Error{What: "unknown field " + Quote(semantic.JSONPointer.LastToken())}
			e.Path = pathOf(at + semantic.JSONPointer.Parent())
		} else {
			e = &Error{What: mismatchText(semantic)}
			e.Path = pathOf(at + semantic.JSONPointer)
		}
		return e, semantic.ByteOffset
	}
	return &Error{What: err.Error()}, 0
}

// syntaxText describes an error in the syntax of JSON.
func syntaxText(err *jsontext.SyntacticError) string {
	switch {
	case errors.Is(err.Err, io.ErrUnexpectedEOF):
		return "it ends in the middle"
	case errors.Is(err.Err, jsontext.ErrDuplicateName):
		return Quote(err.JSONPointer.LastToken()) + " appears twice"
	case errors.Is(err.Err, jsontext.ErrNonStringName):
		return "not JSON: a member without a name"
	}
	return "not JSON: " + err.Err.Error()
}

// mismatchText describes what was expected and what was found.
func mismatchText(err *json.SemanticError) string {
	found := foundText(err)
	switch {
	case err.GoType == nil:
		return "unexpected: " + found
	case errors.Is(err.Err, strconv.ErrRange):
		return "expected " + expectedText(err.GoType) + ", found one that is too large: " + found
	}
	return "expected " + expectedText(err.GoType) + ", found " + found
}

var (
	timeType = reflect.TypeFor[time.Time]()
	textType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// expectedText describes the JSON that a type expects.
func expectedText(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == timeType:
		return `a time such as "2026-03-04T05:06:07Z"`
	case reflect.PointerTo(t).Implements(textType):
		return "text of another form"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number, 0 or more"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "an array"
	}
	return "an object"
}

// foundText describes the JSON that was found.
func foundText(err *json.SemanticError) string {
	switch err.JSONKind {
	case jsontext.KindNull:
		return "null"
	case jsontext.KindFalse, jsontext.KindTrue:
		return "true or false"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		if len(err.JSONValue) > 0 {
			return cut(string(err.JSONValue))
		}
		return "a number"
	case jsontext.KindBeginArray:
		return "an array"
	}
	return "an object"
}

// maxName is the number of bytes that a message quotes of a text.
const maxName = 80

// cut shortens s to maxName bytes and adds an ellipsis, if s is longer.
func cut(s string) string {
	if len(s) <= maxName {
		return s
	}
	end := maxName
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// Quote quotes a part of a text for a message. It shortens the text, and escapes characters that
// could move a terminal's cursor.
func Quote(s string) string { return strconv.Quote(cut(s)) }

// pathOf writes a JSON pointer in the syntax of programs: /scenarios/0/name becomes
// scenarios[0].name.
func pathOf(p jsontext.Pointer) string {
	var path strings.Builder
	for token := range p.Tokens() {
		switch {
		case token == "" || strings.ContainsFunc(token, notOfName):
			path.WriteString("[" + Quote(token) + "]")
		case !strings.ContainsFunc(token, notDigit):
			path.WriteString("[" + cut(token) + "]")
		default:
			if path.Len() > 0 {
				path.WriteByte('.')
			}
			path.WriteString(cut(token))
		}
	}
	return path.String()
}

func notDigit(r rune) bool { return r < '0' || r > '9' }

func notOfName(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }
