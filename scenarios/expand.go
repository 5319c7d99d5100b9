package scenarios

import (
	"reflect"

	"go.yaml.in/yaml/v4"
)

// Expand returns the variants in the order of the file: block by block, and inside a block as the
// product of its lists, the last key varying fastest. A scenario that Load returned has at least
// one, and all are valid.
func (s *Scenario) Expand() []Variant {
	root := s.tree()
	var variants []Variant
	all, _ := points(s.Matrix)
	for _, p := range all {
		variants = append(variants, Variant{Labels: p.labels, Setup: p.setup(root)})
	}
	return variants
}

// tree is the YAML that the variants start from.
func (s *Scenario) tree() *yaml.Node {
	if root, _ := parseTree(s.Source); root != nil {
		return root
	}
	return encode(reflect.ValueOf(s.Setup))
}
