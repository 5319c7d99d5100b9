package scenarios

import (
	"maps"

	"go.yaml.in/yaml/v4"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/strictyaml"
)

// String formats the labels as in "sockets=reuseport stop=close": sockets first, then stop, then
// all other keys in alphabetical order. Without labels it returns "".
func (l Labels) String() string {
	if len(l) == 0 {
		return ""
	}
	return results.LabelString(l)
}

// Includes reports whether l has every label of other. It returns true if other is empty.
func (l Labels) Includes(other Labels) bool { return results.Includes(l, other) }

// Equal reports whether l and other have the same labels. Nil labels equal empty labels.
func (l Labels) Equal(other Labels) bool { return maps.Equal(l, other) }

// DecodeYAML sets l from a mapping of single values; see strictyaml.NodeDecoder.
func (l *Labels) DecodeYAML(d *strictyaml.Decoder, n *yaml.Node, path string) {
	labels := Labels{}
	d.Pairs(n, path, func(key, value *yaml.Node) {
		if value.Kind != yaml.ScalarNode || strictyaml.IsNull(value) {
			what := "expected a single value, found " + strictyaml.Describe(value)
			d.Fail(value.Line, strictyaml.Join(path, key.Value), what,
				"write the value that the matrix lists, for example stop: close")
			return
		}
		labels[key.Value] = value.Value
	})
	*l = labels
}

// EncodeYAML returns l in the form that DecodeYAML reads.
func (l Labels) EncodeYAML() *yaml.Node {
	mapping := strictyaml.Flow(&yaml.Node{Kind: yaml.MappingNode})
	for _, key := range results.LabelKeys(l) {
		mapping.Content = append(mapping.Content, strictyaml.Scalar(key), strictyaml.Scalar(l[key]))
	}
	return mapping
}
