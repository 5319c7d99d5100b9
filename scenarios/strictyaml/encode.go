package strictyaml

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// NodeEncoder is implemented by the types that implement NodeDecoder. EncodeYAML returns the tree
// from which DecodeYAML reads the same value.
type NodeEncoder interface {
	EncodeYAML() *yaml.Node
}

// Marshal returns the text of a file that decodes to the struct v. The file has every value,
// including defaults. Mappings below the top level are in flow style, each on one line.
func Marshal(v any) ([]byte, error) {
	return yaml.Dump(encode(reflect.ValueOf(v)), yaml.WithLineWidth(-1))
}

// Text formats the single value v, or the value to which v points, as in a file.
func Text(v any) string { return encode(reflect.ValueOf(v)).Value }

// encode returns the tree that Decoder.value decodes to v.
func encode(v reflect.Value) *yaml.Node {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() { // the value is missing
			return &yaml.Node{Kind: yaml.ScalarNode}
		}
		return encode(v.Elem())
	}
	switch value := v.Interface().(type) {
	case NodeEncoder:
		return value.EncodeYAML()
	case time.Duration:
		return Scalar(FormatDuration(value))
	case fmt.Stringer:
		return Scalar(value.String())
	}
	switch v.Kind() {
	case reflect.Struct:
		return encodeStruct(v)
	case reflect.Map:
		return encodeMap(v)
	case reflect.Slice:
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			list.Content = append(list.Content, Flow(encode(v.Index(i))))
		}
		if len(list.Content) == 0 {
			return Flow(list)
		}
		return list
	case reflect.Bool:
		return Scalar(strconv.FormatBool(v.Bool()))
	case reflect.Int:
		return Scalar(strconv.FormatInt(v.Int(), 10))
	case reflect.Float64:
		return Scalar(strconv.FormatFloat(v.Float(), 'g', -1, 64))
	}
	text := &yaml.Node{}
	text.SetString(v.String())
	return text
}

func encodeStruct(v reflect.Value) *yaml.Node {
	mapping := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		name, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		field := v.Field(i)
		switch {
		case option == "inline":
			mapping.Content = append(mapping.Content, encodeStruct(field).Content...)
		case name == "-" || option == "omitempty" && field.IsZero():
		default:
			value := encode(field)
			if value.Kind == yaml.MappingNode {
				Flow(value)
			}
			mapping.Content = append(mapping.Content, Scalar(name), value)
		}
	}
	return mapping
}

// encodeMap returns the mapping of a map with strings as keys, in the order of the keys.
func encodeMap(v reflect.Value) *yaml.Node {
	mapping := Flow(&yaml.Node{Kind: yaml.MappingNode})
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		return cmp.Compare(a.String(), b.String())
	})
	for _, key := range keys {
		name := &yaml.Node{}
		name.SetString(key.String())
		mapping.Content = append(mapping.Content, name, Flow(encode(v.MapIndex(key))))
	}
	return mapping
}

// Scalar returns text as a plain scalar, with the tag that YAML resolves it to.
func Scalar(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	var document yaml.Node
	if err := yaml.Load([]byte(text), &document); err == nil && document.Content[0].Value == text {
		n.Tag = document.Content[0].Tag
	}
	return n
}

// Flow sets n to flow style, on one line, and returns it.
func Flow(n *yaml.Node) *yaml.Node {
	n.Style |= yaml.FlowStyle
	return n
}
