package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// parseTree reads data as one YAML document and returns its top mapping; nil if there is none to
// go on with. Constructs that make a file mean something else than what stands there (anchors,
// aliases, merge keys, tags) are problems, but the tree is still returned, so that the rest of
// the file is looked at too.
func parseTree(data []byte) (*yaml.Node, []Problem) {
	if len(data) >= maxFileSize {
		return nil, []Problem{{What: fmt.Sprintf("the file is larger than %d bytes", maxFileSize-1), Hint: "a scenario fits a page"}}
	}
	if i := invalidUTF8(data); i >= 0 {
		return nil, []Problem{{Line: 1 + bytes.Count(data[:i], []byte("\n")), What: "the file is not UTF-8 text"}}
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, []Problem{syntaxProblem(err)}
	}
	var document yaml.Node
	if err := loader.Load(&document); errors.Is(err, io.EOF) || err == nil && isNull(document.Content[0]) {
		return nil, []Problem{{Line: 1, What: "the file is empty", Hint: "start from the output of: reuseport-bench show steady"}}
	} else if err != nil {
		return nil, []Problem{syntaxProblem(err)}
	}
	root := document.Content[0]
	problems := refuseIndirection(root)
	var second yaml.Node
	if err := loader.Load(&second); err == nil {
		problems = append(problems, Problem{Line: second.Line, What: "a second document starts here", Hint: "put each scenario in a file of its own"})
	} else if !errors.Is(err, io.EOF) {
		problems = append(problems, syntaxProblem(err))
	}
	if root.Kind != yaml.MappingNode {
		problems = append(problems, Problem{Line: root.Line, What: "a scenario is a mapping, this is " + describe(root), Hint: "start with a line such as name: my-scenario"})
		return nil, problems
	}
	return root, problems
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

// refuseIndirection finds anchors, aliases, merge keys and tags anywhere under n.
func refuseIndirection(n *yaml.Node) []Problem {
	var problems []Problem
	refuse := func(what, hint string) { problems = append(problems, Problem{Line: n.Line, What: what, Hint: hint}) }
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
		problems = append(problems, refuseIndirection(child)...)
	}
	return problems
}

// describe says what n is, for a message.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch {
	case isNull(n):
		return "nothing"
	case n.ShortTag() == "!!int", n.ShortTag() == "!!float":
		return "the number " + n.Value
	}
	return fmt.Sprintf("the text %q", n.Value)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// override returns root with the value at path replaced; mappings along the path are copied, and
// made where there are none. root itself does not change.
func override(root *yaml.Node, path []string, value *yaml.Node) *yaml.Node {
	if len(path) == 0 {
		return value
	}
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: value.Line}
	if root != nil && root.Kind == yaml.MappingNode {
		*out = *root
		out.Content = append([]*yaml.Node(nil), root.Content...)
	}
	for i := 0; i+1 < len(out.Content); i += 2 {
		if out.Content[i].Kind == yaml.ScalarNode && out.Content[i].Value == path[0] {
			out.Content[i+1] = override(out.Content[i+1], path[1:], value)
			return out
		}
	}
	key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: path[0], Line: value.Line}
	out.Content = append(out.Content, key, override(nil, path[1:], value))
	return out
}
