package scenarios

import (
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// encode returns the YAML tree that decodes to v: the reverse of decoder.value, with every value
// written out. Mappings below the top are in flow style, one thing a line.
func encode(v reflect.Value) *yaml.Node {
	switch value := v.Interface().(type) {
	case time.Duration:
		return scalarNode(durationText(value))
	case Rate:
		return scalarNode(value.String())
	case Lag:
		return scalarNode(value.String())
	case Labels:
		return encodeLabels(value)
	case Block:
		return encodeBlock(value)
	}
	switch v.Kind() {
	case reflect.Struct:
		return encodeStruct(v)
	case reflect.Slice:
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			list.Content = append(list.Content, flow(encode(v.Index(i))))
		}
		if len(list.Content) == 0 {
			return flow(list)
		}
		return list
	case reflect.Pointer:
		return encode(v.Elem())
	case reflect.Bool:
		return scalarNode(strconv.FormatBool(v.Bool()))
	case reflect.Int:
		return scalarNode(strconv.FormatInt(v.Int(), 10))
	case reflect.Float64:
		return scalarNode(strconv.FormatFloat(v.Float(), 'g', -1, 64))
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
				flow(value)
			}
			mapping.Content = append(mapping.Content, scalarNode(name), value)
		}
	}
	return mapping
}

func encodeLabels(labels Labels) *yaml.Node {
	mapping := flow(&yaml.Node{Kind: yaml.MappingNode})
	for _, key := range labels.keys() {
		mapping.Content = append(mapping.Content, scalarNode(key), scalarNode(labels[key]))
	}
	return mapping
}

func encodeBlock(block Block) *yaml.Node {
	mapping := flow(&yaml.Node{Kind: yaml.MappingNode})
	for _, axis := range block {
		values := flow(&yaml.Node{Kind: yaml.SequenceNode})
		for _, value := range axis.Values {
			values.Content = append(values.Content, scalarNode(value))
		}
		mapping.Content = append(mapping.Content, scalarNode(axis.Key), values)
	}
	return mapping
}

// scalarNode is value written plainly, with the type that a reader will see in it.
func scalarNode(value string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	var document yaml.Node
	if err := yaml.Load([]byte(value), &document); err == nil && document.Content[0].Value == value {
		n.Tag = document.Content[0].Tag
	}
	return n
}

func flow(n *yaml.Node) *yaml.Node {
	n.Style |= yaml.FlowStyle
	return n
}
