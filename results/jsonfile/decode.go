// Package jsonfile writes JSON files, and reads them strictly: without unknown or repeated members,
// within bounds, and with the place of every mistake, in plain words. A checksum says whether a
// file is what was written. The package knows nothing of what the files mean.
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

// Limits bound what a Decoder takes.
type Limits struct {
	// Bytes is the length of the text.
	Bytes int64
	// Piece is the length of a part, and of all that is in no part; see Part. 0: 32 MiB.
	Piece int
	// Memory is what all parts together may take. Nil: they are not bounded.
	Memory *Budget
}

// A Budget is an amount of memory, in bytes. Decoders may share it.
type Budget struct {
	limit, left int64
}

// NewBudget returns a budget of that many bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit, limit} }

// A Decoder decodes a text of JSON values. What it holds at a time is bounded, whatever the text
// is: see Part for large values. Its errors are *Error.
type Decoder struct {
	text   *text
	json   *jsontext.Decoder
	limits Limits
}

// NewDecoder returns a decoder of what r reads.
func NewDecoder(r io.Reader, l Limits) *Decoder {
	t := &text{
		compactor: newCompactor(),
		r:         input.Limit(r, l.Bytes),
		piece:     cmp.Or(l.Piece, DefaultPiece),
	}
	return &Decoder{t, jsontext.NewDecoder(t), l}
}

// Decode decodes the text into a value, which must be all that there is. What was decoded before an
// error is in the value.
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
			What:   "there is more behind the end of the JSON value",
			Syntax: true,
		}
	case err != io.EOF:
		return d.explain(err)
	}
	return nil
}

// Next decodes the next value of a text that has several. At the end it returns io.EOF.
func (d *Decoder) Next(into any) error {
	d.text.size, d.text.marks = 0, 0 // each value is a piece
	err := json.UnmarshalDecode(d.json, into, options())
	if err == nil || err == io.EOF {
		return err
	}
	return d.explain(err)
}

// Line returns the line, from 1, of the first byte that is not decoded yet.
func (d *Decoder) Line() int {
	return 1 + d.text.lines - bytes.Count(d.json.UnreadBuffer(), []byte("\n"))
}

// options are those of every value. A time.Duration is a number of nanoseconds.
func options() json.Options {
	return json.JoinOptions(json.RejectUnknownMembers(true), jsonv1.FormatDurationAsNano(true))
}

// Member decodes one member of the object that the text is, and reads no further. Without such a
// member it returns io.EOF; any other error is an *Error.
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

// Checksum returns the checksum of the object that was decoded, which may be stored in a member
// "checksum" of its own. Blanks between values do not count, nor does that member, and line is
// where it is; 0: there is none.
func (d *Decoder) Checksum() (sum string, line int) { return d.text.checksum(), d.text.where }

// Part makes the decoder decode each value of a type by itself, and take it from the limits'
// memory; more than most of them are an error. took, unless nil, is told the line in which each one
// begins.
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

// Start makes the decoder tell where each value of a type begins, which is an element of a list.
func Start[T any](d *Decoder, at func(Place)) *json.Unmarshalers {
	return json.UnmarshalFromFunc(func(dec *jsontext.Decoder, _ *T) error {
		list := dec.StackPointer()
		_, n := dec.StackIndex(dec.StackDepth())
		if n > 0 {
			list = list.Parent() // of the element before
		}
		dec.PeekKind() // reads the blanks before it; an error comes again
		unread := dec.UnreadBuffer()
		blanks := len(unread) - len(bytes.TrimLeft(unread, " \t\r\n,"))
		line := d.Line() + bytes.Count(unread[:blanks], []byte("\n"))
		at(Place{line, pathOf(list.AppendToken(strconv.FormatInt(n, 10)))})
		return errors.ErrUnsupported // goes on as without this function
	})
}
