package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// Parse parses data as one YAML document. It returns the document's top mapping, and a decoder with
// the problems found so far. root is nil if there is nothing to decode. Anchors, aliases, merge
// keys and tags are problems, but the rest of the document can still be decoded.
func (f *Format) Parse(data []byte) (root *yaml.Node, d *Decoder) {
	d = f.NewDecoder()
	return d.parse(data), d
}

func (d *Decoder) parse(data []byte) *yaml.Node {
	f := d.Format
	if len(data) > f.MaxSize {
		d.Add(Problem{
			What: fmt.Sprintf("the file is larger than %d bytes", f.MaxSize),
			Hint: "a " + f.Noun + " fits a page; split it, or name another file",
		})
		return nil
	}
	if p := checkText(data); p != nil {
		d.Add(*p)
		return nil
	}
	depth := loaderlimits.DepthValue(f.MaxDepth)
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithPlugin(loaderlimits.New(depth)))
	if err != nil {
		d.Add(d.syntaxProblem(err, data))
		return nil
	}
	var document yaml.Node
	err = loader.Load(&document)
	if errors.Is(err, io.EOF) || err == nil && IsNull(document.Content[0]) {
		d.Add(Problem{Line: 1, What: "the file is empty", Hint: "start from " + f.Template})
		return nil
	}
	if err != nil {
		d.Add(d.syntaxProblem(err, data))
		return nil
	}
	root := document.Content[0]
	d.refuseIndirection(root)
	d.refuseSecond(loader, data)
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

// refuseSecond records a problem if a second document follows the first.
func (d *Decoder) refuseSecond(loader *yaml.Loader, data []byte) {
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
		d.Add(d.syntaxProblem(err, data))
	}
}

// refuseIndirection records a problem for each anchor, alias, merge key and tag in the tree n.
func (d *Decoder) refuseIndirection(n *yaml.Node) {
	refuse := func(what, hint string) { d.Add(Problem{Line: n.Line, What: what, Hint: hint}) }
	const hint = inlineHint
	switch {
	case n.Kind == yaml.AliasNode:
		refuse(fmt.Sprintf("alias *%s is not allowed", n.Value), hint)
	case n.Anchor != "":
		refuse(fmt.Sprintf("anchor &%s is not allowed", n.Anchor), hint)
	case n.Tag == "!!merge":
		refuse("merge key << is not allowed", hint)
	case n.Style&yaml.TaggedStyle != 0:
		refuse(fmt.Sprintf("tag %s is not allowed", n.Tag), plainHint)
	}
	for _, child := range n.Content {
		d.refuseIndirection(child)
	}
}

// Describe describes n for a message.
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

// IsNull reports whether n is null: "~", "null", or empty.
func IsNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }
