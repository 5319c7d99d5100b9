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

// Lookup returns a pointer to the value at a dotted path in the struct that v points to, and
// whether the path exists. In the path, "[]" after the name of a list stands for a zero element.
func Lookup(v any, path string) (field any, ok bool) {
	at := reflect.ValueOf(v).Elem()
	for key := range strings.SplitSeq(path, ".") {
		if at.Kind() != reflect.Struct {
			return nil, false
		}
		name, isList := strings.CutSuffix(key, "[]")
		field, ok := fieldNamed(at, name)
		if !ok || isList && field.Kind() != reflect.Slice {
			return nil, false
		}
		if isList {
			field = reflect.New(field.Type().Elem()).Elem()
		}
		at = field
	}
	return at.Addr().Interface(), true
}

// setDefaults sets the values that have a default, below the struct that v points to.
func (f *Format) setDefaults(v any) {
	for _, s := range f.Settings {
		if s.Default == "" {
			continue
		}
		if field, ok := Lookup(v, s.Path); ok {
			if p := DecodeScalar(Scalar(s.Default), field, s); p != nil {
				panic("strictyaml: default of " + s.Path + ": " + p.What) // a bug in the format
			}
		}
	}
}
