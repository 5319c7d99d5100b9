package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v4"

	"reuseport-bench/results/command"
	"reuseport-bench/scenarios/strictyaml"
	"reuseport-bench/scenarios/vocabulary"
)

// DecodeYAML decodes one block of the matrix. It omits keys and values with a problem. See
// strictyaml.NodeDecoder.
func (b *Block) DecodeYAML(d *strictyaml.Decoder, n *yaml.Node, path string) {
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		d.Fail(n.Line, path, "the block is empty",
			"give it a key with a list of values, for example sockets: [shared, reuseport]")
		return
	}
	d.Pairs(n, path, func(key, values *yaml.Node) {
		if !axisKey(d, key, path) {
			return
		}
		axis := Axis{Key: key.Value, Line: key.Line}
		axisValues(d, values, &axis, strictyaml.Join(path, key.Value))
		if len(axis.Values) > 0 {
			*b = append(*b, axis)
		} else {
			d.Distrust(axis.Key)
		}
	})
}

// EncodeYAML returns b in the form that DecodeYAML reads.
func (b Block) EncodeYAML() *yaml.Node {
	mapping := strictyaml.Flow(&yaml.Node{Kind: yaml.MappingNode})
	for _, axis := range b {
		values := strictyaml.Flow(&yaml.Node{Kind: yaml.SequenceNode})
		for _, value := range axis.Values {
			values.Content = append(values.Content, strictyaml.Scalar(value))
		}
		mapping.Content = append(mapping.Content, strictyaml.Scalar(axis.Key), values)
	}
	return mapping
}

// axisKey reports whether key is the path of a single value in Setup, and records a problem if it
// is not.
func axisKey(d *strictyaml.Decoder, key *yaml.Node, path string) bool {
	known := variable()
	name, isVar := variableName(key.Value)
	if slices.Contains(known, key.Value) || isVar && isWord(name) {
		return true
	}
	var inside []string
	for _, k := range known {
		if strings.HasPrefix(k, key.Value+".") {
			inside = append(inside, k)
		}
	}
	if key.Value == varsPath {
		inside = []string{varsPath + "." + anyName}
	}
	what := fmt.Sprintf("%q is not a setting that can vary", key.Value)
	hint := strictyaml.DidYouMean(key.Value, known,
		"vary a single setting, for example sockets; '"+command.Line("schema")+"' lists them")
	if len(inside) > 0 {
		what = fmt.Sprintf("%q holds more than one value", key.Value)
		hint = "vary " + strings.Join(inside, ", ")
	} else if near := strictyaml.Nearest(key.Value, known); near != "" {
		d.Distrust(near)
	}
	d.Fail(key.Line, path, what, hint)
	return false
}

// axisValues decodes the list of values of an axis. It checks each value in the same way as a value
// outside the matrix.
func axisValues(d *strictyaml.Decoder, n *yaml.Node, axis *Axis, path string) {
	if n.Kind != yaml.SequenceNode {
		hint := "write a list"
		if n.Kind == yaml.ScalarNode {
			hint = fmt.Sprintf("write [%s]", n.Value)
		}
		d.Fail(n.Line, path, "expected a list of values, found "+strictyaml.Describe(n), hint)
		return
	}
	switch count := len(n.Content); {
	case count == 0:
		d.Fail(n.Line, path, "no values", "remove the key, or list what it should be")
	case count > maxVariants:
		d.Fail(n.Line, path, fmt.Sprintf("%d values", count),
			fmt.Sprintf("at most %d", maxVariants))
		return
	}
	for _, value := range n.Content {
		field, _ := strictyaml.Lookup(new(Setup), axis.Key)
		if _, isVar := variableName(axis.Key); isVar {
			field = new(string)
		}
		if value.Kind == yaml.AliasNode {
			d.Distrust(path)
		} else if p := strictyaml.DecodeScalar(value, field, d.Format.Setting(axis.Key)); p != nil {
			d.Fail(value.Line, path, p.What, p.Hint)
		} else {
			axis.Values = append(axis.Values, strictyaml.Single(value, field).Value)
		}
	}
}

// variable returns the paths that a matrix may vary: the paths of the single values in Setup that
// are not inside lists or maps. A matrix may also vary the entries of server.vars; see
// variableName.
var variable = sync.OnceValue(func() (paths []string) {
	for _, s := range settings() {
		if _, ok := strictyaml.Lookup(new(Setup), s.Path); ok &&
			!strings.Contains(s.Path, "[]") && !strings.Contains(s.Path, "."+anyName) {
			paths = append(paths, s.Path)
		}
	}
	return paths
})

// complete sets the defaults that depend on other settings.
func (s *Setup) complete() {
	if s.Step != "" {
		s.Timeline = slices.Clone(s.Timeline) // variants share it
		for i := range s.Timeline {
			s.Timeline[i].Do = cmp.Or(s.Timeline[i].Do, vocabulary.StepName(s.Step))
		}
	}
	if s.Accept == "" {
		s.Accept = s.Server.Kind.Row().Accept
	}
	if s.Server.Start.IsZero() && s.starts() && !s.ByCommand() {
		s.Server.Start.When = vocabulary.StartParked
		if only := s.Stop.Row().Start; !only.Allows(vocabulary.StartParked) {
			s.Server.Start.When = only.Values[0]
		} else if s.InPods() && (s.Kube.otherUsers() || s.Kube.real()) {
			s.Server.Start.When = vocabulary.StartCold
		}
	}
	// A third-party server's only way to restart is the default.
	if s.Restart == "" && len(s.Server.Restarts) == 1 {
		for name := range s.Server.Restarts {
			s.Restart = name
		}
	}
	if (s.Path == vocabulary.PathDNS || s.DNS != DNS{}) && s.DNS.Cache == "" {
		s.DNS.Cache = vocabulary.DNSCacheTTL
	}
	if s.InPods() {
		s.Kube.Control = cmp.Or(s.Kube.Control, vocabulary.ControlEmbedded)
		s.Kube.Placement = cmp.Or(s.Kube.Placement, vocabulary.PlacementPods)
		s.Kube.Users = cmp.Or(s.Kube.Users, vocabulary.UsersOne)
	}
	if s.Path == vocabulary.PathHAProxy {
		s.HAProxy.Checks = cmp.Or(s.HAProxy.Checks, vocabulary.ChecksDefault)
		s.HAProxy.Redispatch = cmp.Or(s.HAProxy.Redispatch, vocabulary.Off)
	}
}

// otherUsers reports whether workers in pods run under user ids that differ from this program's.
// Such a worker may not enter its pod's network namespace itself, so it must be started there.
func (k *Kube) otherUsers() bool { return k.Users != "" && k.Users != vocabulary.UsersOne }

// point is a point of the matrix: a variant that has not been decoded yet.
type point struct {
	labels Labels
	block  int // index of its block in the matrix
}

// points returns the variants of a matrix in the order of the file. Within a block, the last key
// varies fastest. An empty matrix has one variant, without labels. If there are more than
// maxVariants variants, points returns nil and false.
func points(matrix []Block) (all []point, ok bool) {
	if len(matrix) == 0 {
		return []point{{labels: Labels{}}}, true
	}
	for i, block := range matrix {
		if len(block) == 0 { // the block has a problem, which is already recorded
			continue
		}
		product := []point{{labels: Labels{}, block: i}}
		for _, axis := range block {
			if len(product)*len(axis.Values) > maxVariants {
				return nil, false
			}
			var next []point
			for _, p := range product {
				for _, value := range axis.Values {
					labels := maps.Clone(p.labels)
					labels[axis.Key] = value
					next = append(next, point{labels: labels, block: i})
				}
			}
			product = next
		}
		if all = append(all, product...); len(all) > maxVariants {
			return nil, false
		}
	}
	return all, true
}

// setup returns the setup of p: a copy of base, which is the setup of the file, with the values in
// p's labels and with the defaults of complete. The values are valid, because axisValues omits
// invalid ones.
func (p point) setup(base Setup, f *strictyaml.Format) Setup {
	s := base
	for path, value := range p.labels {
		if name, isVar := variableName(path); isVar {
			s.Server.Vars = with(s.Server.Vars, name, value)
		} else if field, ok := strictyaml.Lookup(&s, path); ok {
			strictyaml.DecodeScalar(strictyaml.Scalar(value), field, f.Setting(path))
		}
	}
	s.complete()
	return s
}
