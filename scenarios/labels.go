package scenarios

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"reuseport-bench/scenarios/strictyaml"
)

// String writes the labels as "sockets=reuseport stop=close": sockets first, then stop, then the
// others in alphabetical order. No labels: "".
func (l Labels) String() string {
	keys := l.keys()
	for i, key := range keys {
		keys[i] = key + "=" + l[key]
	}
	return strings.Join(keys, " ")
}

// keys lists the keys in the order of String.
func (l Labels) keys() []string {
	rank := func(key string) int {
		switch key {
		case "sockets":
			return 0
		case "stop":
			return 1
		}
		return 2
	}
	return slices.SortedFunc(maps.Keys(l), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
}

// Includes reports whether every label of other is also one of l. No labels are included in any.
func (l Labels) Includes(other Labels) bool {
	for key, value := range other {
		if have, ok := l[key]; !ok || have != value {
			return false
		}
	}
	return true
}

// Equal reports whether l and other are the same labels; nil equals empty.
func (l Labels) Equal(other Labels) bool { return maps.Equal(l, other) }

// DecodeYAML sets l from a mapping of single values; see strictyaml.NodeDecoder.
func (l *Labels) DecodeYAML(d *strictyaml.Decoder, n *yaml.Node, path string) {
	labels := Labels{}
	d.Pairs(n, path, func(key, value *yaml.Node) {
		if value.Kind != yaml.ScalarNode || strictyaml.IsNull(value) {
			what := "expected a single value, found " + strictyaml.Describe(value)
			d.Fail(value.Line, strictyaml.Join(path, key.Value), what, "")
			return
		}
		labels[key.Value] = value.Value
	})
	*l = labels
}

// EncodeYAML returns what DecodeYAML reads.
func (l Labels) EncodeYAML() *yaml.Node {
	mapping := strictyaml.Flow(&yaml.Node{Kind: yaml.MappingNode})
	for _, key := range l.keys() {
		mapping.Content = append(mapping.Content, strictyaml.Scalar(key), strictyaml.Scalar(l[key]))
	}
	return mapping
}
