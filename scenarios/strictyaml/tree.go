package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Parse reads data as one YAML document. It returns its top mapping and a decoder that knows the
// problems found so far; root is nil if there is nothing to decode. Constructs that make a file
// mean something else than what it says (anchors, aliases, merge keys, tags) are problems, but the
// rest of such a file can still be decoded.
func (f *Format) Parse(data []byte) (root *yaml.Node, d *Decoder) {
	d = f.NewDecoder()
	return d.parse(data), d
}

func (d *Decoder) parse(data []byte) *yaml.Node {
	f := d.Format
	if len(data) >= f.MaxSize {
		d.Add(Problem{
			What: fmt.Sprintf("the file is larger than %d bytes", f.MaxSize-1),
			Hint: "a " + f.Noun + " fits a page",
		})
		return nil
	}
	if i := invalidUTF8(data); i >= 0 {
		line := 1 + bytes.Count(data[:i], []byte("\n"))
		d.Add(Problem{Line: line, What: "the file is not UTF-8 text"})
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		d.Add(syntaxProblem(err))
		return nil
	}
	var document yaml.Node
	err = loader.Load(&document)
	if errors.Is(err, io.EOF) || err == nil && IsNull(document.Content[0]) {
		d.Add(Problem{Line: 1, What: "the file is empty", Hint: "start from " + f.Template})
		return nil
	}
	if err != nil {
		d.Add(syntaxProblem(err))
		return nil
	}
	root := document.Content[0]
	d.refuseIndirection(root)
	d.refuseSecond(loader)
	if root.Kind != yaml.MappingNode {
		d.Add(Problem{
			Line: root.Line,
			What: "a " + f.Noun + " is a mapping, this is " + Describe(root),
			Hint: "start with a line such as " + f.FirstLine,
		})
		return nil
	}
	return root
}

// refuseSecond records a problem if another document follows.
func (d *Decoder) refuseSecond(loader *yaml.Loader) {
	var second yaml.Node
	err := loader.Load(&second)
	switch {
	case err == nil:
		d.Add(Problem{
			Line: second.Line,
			What: "a second document starts here",
			Hint: "put each " + d.Format.Noun + " in a file of its own",
		})
	case !errors.Is(err, io.EOF):
		d.Add(syntaxProblem(err))
	}
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, or -1.
func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// syntaxProblem is the problem for a file that is not YAML.
func syntaxProblem(err error) Problem {
	var load *yaml.LoadError
	if !errors.As(err, &load) {
		return Problem{What: "not YAML: " + err.Error()}
	}
	what := "not YAML: " + load.Message
	if load.ContextMsg != "" {
		what += " " + load.ContextMsg
	}
	if load.ContextMark.Line > 0 && load.ContextMark.Line != load.Mark.Line {
		what += fmt.Sprintf(" that starts on line %d", load.ContextMark.Line)
	}
	return Problem{Line: load.Mark.Line, What: what}
}

// refuseIndirection records anchors, aliases, merge keys and tags anywhere under n.
func (d *Decoder) refuseIndirection(n *yaml.Node) {
	refuse := func(what, hint string) { d.Add(Problem{Line: n.Line, What: what, Hint: hint}) }
	const hint = "write the value where it is used"
	switch {
	case n.Kind == yaml.AliasNode:
		refuse(fmt.Sprintf("alias *%s is not allowed", n.Value), hint)
	case n.Anchor != "":
		refuse(fmt.Sprintf("anchor &%s is not allowed", n.Anchor), hint)
	case n.Tag == "!!merge":
		refuse("merge key << is not allowed", hint)
	case n.Style&yaml.TaggedStyle != 0:
		refuse(fmt.Sprintf("tag %s is not allowed", n.Tag), "write the value alone")
	}
	for _, child := range n.Content {
		d.refuseIndirection(child)
	}
}

// Describe says what n is, for a message.
func Describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch {
	case IsNull(n):
		return "nothing"
	case n.ShortTag() == "!!int", n.ShortTag() == "!!float":
		return "the number " + n.Value
	}
	return fmt.Sprintf("the text %q", n.Value)
}

// IsNull reports whether n is a null: "~", "null", or nothing at all.
func IsNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }
