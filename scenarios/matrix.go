package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// block decodes one product block of the matrix. Keys and values with a problem are left out.
func (d *decoder) block(n *yaml.Node, target *Block, path string) {
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		d.fail(n.Line, path, "the block is empty", "give it a key with a list of values, for example sockets: [shared, reuseport]")
		return
	}
	d.pairs(n, path, func(key, values *yaml.Node) {
		if !d.axisKey(key, path) {
			return
		}
		axis := Axis{Key: key.Value, Line: key.Line}
		d.axisValues(values, &axis, join(path, key.Value))
		if len(axis.Values) > 0 {
			*target = append(*target, axis)
		} else {
			d.bad[axis.Key] = true
		}
	})
}

// axisKey reports whether key is the path of a single value in Setup, and records a problem if not.
func (d *decoder) axisKey(key *yaml.Node, path string) bool {
	known := variable()
	if slices.Contains(known, key.Value) {
		return true
	}
	d.bad[path] = true
	var inside []string
	for _, k := range known {
		if strings.HasPrefix(k, key.Value+".") {
			inside = append(inside, k)
		}
	}
	what, hint := fmt.Sprintf("%q is not a setting that can vary", key.Value), didYouMean(key.Value, known, "these can:")
	if len(inside) > 0 {
		what, hint = fmt.Sprintf("%q holds more than one value", key.Value), "vary "+strings.Join(inside, ", ")
	} else if near := nearest(key.Value, known); near != "" {
		d.bad[near] = true
	}
	d.problems = append(d.problems, Problem{Line: key.Line, What: within(path) + what, Hint: hint})
	return false
}

// axisValues decodes the list of values of an axis, each as strictly as the setting itself.
func (d *decoder) axisValues(n *yaml.Node, axis *Axis, path string) {
	if n.Kind != yaml.SequenceNode {
		hint := "write a list"
		if n.Kind == yaml.ScalarNode {
			hint = fmt.Sprintf("write [%s]", n.Value)
		}
		d.fail(n.Line, path, "expected a list of values, found "+describe(n), hint)
		return
	}
	switch count := len(n.Content); {
	case count == 0:
		d.fail(n.Line, path, "no values", "remove the key, or list what it should be")
	case count > maxVariants:
		d.fail(n.Line, path, fmt.Sprintf("%d values", count), fmt.Sprintf("at most %d", maxVariants))
		return
	}
	for _, value := range n.Content {
		field, _ := lookup(reflect.New(reflect.TypeFor[Setup]()).Elem(), axis.Key)
		if value.Kind == yaml.AliasNode {
			d.bad[path] = true
		} else if what, hint := decodeScalar(value, field, findSetting(axis.Key)); what != "" {
			d.fail(value.Line, path, what, hint)
		} else {
			axis.Values = append(axis.Values, value.Value)
		}
	}
}

// variable lists the paths that a matrix may vary: the single values of Setup outside its lists.
func variable() []string {
	var paths []string
	setup := reflect.New(reflect.TypeFor[Setup]()).Elem()
	for _, s := range settings() {
		if _, ok := lookup(setup, s.path); ok && !strings.Contains(s.path, "[]") {
			paths = append(paths, s.path)
		}
	}
	return paths
}

// complete adds the defaults that depend on other settings.
func (s *Setup) complete() {
	if s.Accept == "" {
		s.Accept = map[string]string{"loop": "epoll", "http": "netpoll"}[s.Server.Kind]
	}
	if (s.Path == "dns" || s.DNS != DNS{}) && s.DNS.Cache == "" {
		s.DNS.Cache = "ttl"
	}
	if s.InPods() {
		s.Kube.Placement, s.Kube.Users = cmp.Or(s.Kube.Placement, "pods"), cmp.Or(s.Kube.Users, "one")
	}
	if s.Path == "haproxy" {
		s.HAProxy.Checks, s.HAProxy.Redispatch = cmp.Or(s.HAProxy.Checks, "default"), cmp.Or(s.HAProxy.Redispatch, "off")
	}
}

// point is a variant that has not been decoded yet.
type point struct {
	labels Labels
	block  int // index into the matrix
}

// points are the variants of a matrix in the order of the file, the last key of a block varying
// fastest; one without labels if the matrix is empty. ok is false, and the list nil, when there
// are more than maxVariants.
func points(matrix []Block) (all []point, ok bool) {
	if len(matrix) == 0 {
		return []point{{labels: Labels{}}}, true
	}
	for i, block := range matrix {
		if len(block) == 0 { // it has a problem
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

// setup decodes the setup of p: the tree of the file with p's labels put in their places, then the
// defaults for what is still not said. Problems of single values are found when the file itself is
// decoded, and are not looked for again.
func (p point) setup(root *yaml.Node) Setup {
	for path, value := range p.labels {
		root = override(root, strings.Split(path, "."), scalarNode(value))
	}
	var s Setup
	v := reflect.ValueOf(&s).Elem()
	setDefaults(v)
	newDecoder().mapping(root, v, "")
	s.complete()
	return s
}
