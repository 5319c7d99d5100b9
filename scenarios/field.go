package scenarios

import (
	"reflect"
	"strings"
)

// fieldNamed returns the field of the struct v that the YAML key stands for.
func fieldNamed(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		name, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if option == "inline" {
			if field, ok := fieldNamed(v.Field(i), key); ok {
				return field, true
			}
		} else if name == key && name != "-" && name != "" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// fieldNames lists the YAML keys of the struct type t, in order.
func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		name, option, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if option == "inline" {
			names = append(names, fieldNames(t.Field(i).Type)...)
		} else if name != "-" && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// lookup returns the value at a dotted path below the struct v. A list takes part as "[]", which
// stands for a zero element.
func lookup(v reflect.Value, path string) (reflect.Value, bool) {
	for key := range strings.SplitSeq(path, ".") {
		if v.Kind() != reflect.Struct {
			return reflect.Value{}, false
		}
		name, isList := strings.CutSuffix(key, "[]")
		field, ok := fieldNamed(v, name)
		if !ok || isList && field.Kind() != reflect.Slice {
			return reflect.Value{}, false
		}
		if isList {
			field = reflect.New(field.Type().Elem()).Elem()
		}
		v = field
	}
	return v, true
}

// setDefaults gives every setting below the struct v that has a default this default.
func setDefaults(v reflect.Value) {
	for _, s := range settings() {
		if s.def == "" {
			continue
		}
		if field, ok := lookup(v, s.path); ok {
			if what, _ := decodeScalar(scalarNode(s.def), field, s); what != "" {
				panic("scenarios: default of " + s.path + ": " + what) // a mistake in settings
			}
		}
	}
}
