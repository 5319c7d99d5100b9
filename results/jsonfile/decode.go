// Package jsonfile writes JSON files, and reads them strictly: it refuses unknown and repeated
// members and files beyond its limits, and reports the place of every mistake in plain words. A
// checksum shows whether a file was changed. The package does not depend on the meaning of the
// files.
package jsonfile

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"reuseport-bench/results/input"
)

// Limits bound the input of a Decoder.
type Limits struct {
	// Bytes bounds the length of the text.
	Bytes int64
	// Piece bounds the length of each part, and the total length of everything outside of parts;
	// see Part. The default is 32 MiB.
	Piece int
	// Memory bounds the total memory of all parts. Nil means no bound.
	Memory *Budget
}

// A Budget is an amount of memory, in bytes. Decoders may share it.
type Budget struct {
	limit, left int64
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit, limit} }

// A Decoder decodes a text of JSON values. Its memory is bounded, whatever the text is; see Part
// for large values. Its errors are *Error.
type Decoder struct {
	text   *text
	json   *jsontext.Decoder
	limits Limits
}

// NewDecoder returns a decoder that reads from r.
func NewDecoder(r io.Reader, l Limits) *Decoder {
	t := &text{
		compactor: newCompactor(),
		r:         input.Limit(r, l.Bytes),
		piece:     cmp.Or(l.Piece, DefaultPiece),
	}
	return &Decoder{t, jsontext.NewDecoder(t), l}
}

// Decode decodes the text, which must be a single value. After an error, into holds what was
// decoded before the error.
func (d *Decoder) Decode(into any, parts ...*json.Unmarshalers) error {
	all := options()
	if len(parts) > 0 {
		all = json.JoinOptions(all, json.WithUnmarshalers(json.JoinUnmarshalers(parts...)))
	}
	if err := json.UnmarshalDecode(d.json, into, all); err != nil {
		return d.explain(err)
	}
	switch _, err := d.json.ReadToken(); {
	case err == nil:
		return &Error{
			Place:  Place{Line: d.Line()},
			What:   "there is more data after the end of the JSON value",
			Syntax: true,
		}
	case err != io.EOF:
		return d.explain(err)
	}
	return nil
}

// Next decodes the next value of a text with several values. At the end it returns io.EOF.
func (d *Decoder) Next(into any) error {
	d.text.size, d.text.marks = 0, 0 // Piece bounds each value by itself
	err := json.UnmarshalDecode(d.json, into, options())
	if err == nil || err == io.EOF {
		return err
	}
	return d.explain(err)
}

// Line returns the line, from 1, of the first byte not yet decoded.
func (d *Decoder) Line() int {
	return 1 + d.text.lines - bytes.Count(d.json.UnreadBuffer(), []byte("\n"))
}

// options returns the options for all values. A time.Duration is encoded as nanoseconds.
func options() json.Options {
	return json.JoinOptions(json.RejectUnknownMembers(true), jsonv1.FormatDurationAsNano(true))
}

// Member decodes one member of a text that is an object, and reads no further. It returns io.EOF if
// there is no such member; any other error is an *Error.
func (d *Decoder) Member(name string, into any) error {
	if _, err := d.json.ReadToken(); err != nil {
		return d.explain(err)
	}
	for {
		token, err := d.json.ReadToken()
		switch {
		case err != nil:
			return d.explain(err)
		case token.Kind() != jsontext.KindString:
			return io.EOF
		case token.String() == name:
			if err := json.UnmarshalDecode(d.json, into, options()); err != nil {
				return d.explain(err)
			}
			return nil
		}
		if err := d.json.SkipValue(); err != nil {
			return d.explain(err)
		}
	}
}

// Checksum returns the checksum of the decoded object, which the object may store in its member
// "checksum". The sum leaves out that member, and white space between values. line is the line of
// that member, or 0 if it is missing.
func (d *Decoder) Checksum() (sum string, line int) { return d.text.checksum(), d.text.where }

// Part makes the decoder decode each value of type T separately, and deduct its size from
// Limits.Memory. It is an error if there are more than most such values. If took is not nil, Part
// calls it with the line on which each value begins.
func Part[T any](d *Decoder, most int, took func(line int)) *json.Unmarshalers {
	return json.UnmarshalFunc(func(text []byte, v *T) error {
		if most--; most < 0 {
			return &sizeError{}
		}
		d.text.forget(text)
		at, line := d.json.StackPointer(), d.Line()-bytes.Count(text, []byte("\n"))
		if err := json.Unmarshal(text, v, options()); err != nil {
			e, offset := newError(at, err)
			e.Line = line + bytes.Count(text[:offset], []byte("\n"))
			return e
		}
		if b := d.limits.Memory; b != nil {
			if b.left -= Memory(v); b.left < 0 {
				return &sizeError{"in memory", b.limit}
			}
		}
		if took != nil {
			took(line)
		}
		return nil
	})
}

// Start makes the decoder call at with the place where each value of type T begins. The values must
// be elements of a list.
func Start[T any](d *Decoder, at func(Place)) *json.Unmarshalers {
	return json.UnmarshalFromFunc(func(dec *jsontext.Decoder, _ *T) error {
		list := dec.StackPointer()
		_, n := dec.StackIndex(dec.StackDepth())
		if n > 0 {
			list = list.Parent() // the pointer names the previous element
		}
		dec.PeekKind() // skips white space before the value; an error comes again later
		unread := dec.UnreadBuffer()
		blanks := len(unread) - len(bytes.TrimLeft(unread, " \t\r\n,"))
		line := d.Line() + bytes.Count(unread[:blanks], []byte("\n"))
		at(Place{line, pathOf(list.AppendToken(strconv.FormatInt(n, 10)))})
		return errors.ErrUnsupported // makes the decoder decode the value as usual
	})
}
