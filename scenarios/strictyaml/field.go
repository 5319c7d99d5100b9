package strictyaml

import (
	"reflect"
	"strings"
)

// fieldNamed returns the field of the struct v with this YAML key.
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

// Lookup returns a pointer to the value at a dotted path in the struct to which v points, and
// whether the path exists. In the path, "[]" after the name of a list stands for an element with
// the zero value, and NAME after the name of a map for an entry with the zero value.
func Lookup(v any, path string) (field any, ok bool) {
	at := reflect.ValueOf(v).Elem()
	for key := range strings.SplitSeq(path, ".") {
		name, isList := strings.CutSuffix(key, "[]")
		var field reflect.Value
		switch {
		case at.Kind() == reflect.Map && name == anyName:
			field = reflect.New(at.Type().Elem()).Elem()
		case at.Kind() == reflect.Struct:
			if field, ok = fieldNamed(at, name); !ok {
				return nil, false
			}
		default:
			return nil, false
		}
		if isList && field.Kind() != reflect.Slice {
			return nil, false
		}
		if isList {
			field = reflect.New(field.Type().Elem()).Elem()
		}
		at = field
	}
	return at.Addr().Interface(), true
}

// SetDefaults sets, in the struct to which v points, all values that have a default.
func (f *Format) SetDefaults(v any) {
	for _, s := range f.Settings {
		if s.Default == "" {
			continue
		}
		if field, ok := Lookup(v, s.Path); ok {
			if p := DecodeScalar(Scalar(s.Default), field, s); p != nil {
				panic("strictyaml: default of " + s.Path + ": " + p.What) // a mistake in f
			}
		}
	}
}
