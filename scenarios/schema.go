package scenarios

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"reuseport-bench/scenarios/strictyaml"
)

// Schema returns a JSON Schema (draft 2020-12) of scenario files, for editors. It has the keys, the
// allowed values, the ranges and the defaults. It does not check combinations of values, as Load
// does.
func Schema() ([]byte, error) {
	reflector := &jsonschema.Reflector{
		FieldNameTag:               "yaml",
		DoNotReference:             true,
		RequiredFromJSONSchemaTags: true,
		Anonymous:                  true,
		Mapper:                     schemaOf,
	}
	schema := reflector.Reflect(&Scenario{})
	schema.Title = "reuseport-bench scenario"
	schema.Required = []string{"name"}
	for path, required := range map[string][]string{
		"gates[]": {"expect"}, "load.stages[]": {"rate", "duration"},
	} {
		schemaAt(schema, path).Required = required
	}
	for _, s := range settings() {
		limit(s, schemaAt(schema, s.Path))
	}
	schemaAt(schema, "server.start").AnyOf[0].Enum = nil // allow any command beside the words
	for _, k := range Keys() {
		schemaAt(schema, k.Path).Description = k.description()
	}
	schemaAt(schema, "name").Pattern = namePattern().String()

	// The value of a key in the matrix is a list of values of that setting. The value of a label is
	// one of them.
	block, labels := objectSchema(), objectSchema()
	for _, path := range variable() {
		one := *schemaAt(schema, path)
		one.Default = nil
		labels.Properties.Set(path, &one)
		atLeastOne := uint64(1)
		block.Properties.Set(path,
			&jsonschema.Schema{Type: "array", Items: &one, MinItems: &atLeastOne})
	}
	block.PatternProperties = map[string]*jsonschema.Schema{
		"^" + regexp.QuoteMeta(varsPath) + `\.`: {Type: "array", MinItems: new(uint64(1))},
	}
	labels.PatternProperties = map[string]*jsonschema.Schema{
		"^" + regexp.QuoteMeta(varsPath) + `\.`: {},
	}
	block.Description = schemaAt(schema, "matrix[]").Description
	*schemaAt(schema, "matrix[]") = *block
	for _, path := range []string{"baseline", "gates[].when"} {
		at := schemaAt(schema, path)
		at.Properties, at.AdditionalProperties = labels.Properties, labels.AdditionalProperties
		at.PatternProperties = labels.PatternProperties
	}
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return append(text, '\n'), nil
}

const durationPattern = `(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+)`

// schemaOf returns the schema of a type whose values are not written in a file as the Go type
// suggests. For all other types it returns nil.
func schemaOf(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: "^" + durationPattern + "$"}
	case reflect.TypeFor[Rate]():
		const pattern = `^([0-9]+(_[0-9]+)*(\.[0-9]+)?|\.[0-9]+)(/s| ?\* ?capacity)$`
		return &jsonschema.Schema{Type: "string", Pattern: pattern}
	case reflect.TypeFor[Lag]():
		pattern := strings.ReplaceAll("^(D|(uniform|lognormal)\\(D\\.\\.D\\)|exponential\\(D\\)|"+
			measuredDir+"/.+)$",
			"D", durationPattern)
		return &jsonschema.Schema{Type: "string", Pattern: pattern}
	case reflect.TypeFor[Connections]():
		count := objectSchema()
		count.Properties.Set(new(Connections).NumberKey(), &jsonschema.Schema{Type: "integer"})
		count.Required = []string{new(Connections).NumberKey()}
		anyOf := []*jsonschema.Schema{{Type: "string"}, {Type: "integer"}, count}
		return &jsonschema.Schema{AnyOf: anyOf}
	case reflect.TypeFor[Command]():
		return commandSchema()
	case reflect.TypeFor[Start]():
		one := commandSchema()
		for _, word := range startWords() {
			one.Examples = append(one.Examples, word)
		}
		return one
	case reflect.TypeFor[File]():
		copied := objectSchema()
		copied.Properties.Set("copy", &jsonschema.Schema{Type: "string"})
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, copied}}
	case reflect.TypeFor[Signal]():
		return &jsonschema.Schema{Type: "string"}
	case reflect.TypeFor[Statuses]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "integer"}}}
	case reflect.TypeFor[map[string]string]():
		return &jsonschema.Schema{Type: "object", AdditionalProperties: &jsonschema.Schema{
			AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}},
		}}
	case reflect.TypeFor[Block](), reflect.TypeFor[Labels]():
		return objectSchema()
	}
	return nil
}

// commandSchema returns the schema of a command, which is a line or a list of words.
func commandSchema() *jsonschema.Schema {
	words := &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "string"}}
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, words}}
}

func objectSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "object", Properties: jsonschema.NewProperties(),
		AdditionalProperties: jsonschema.FalseSchema,
	}
}

// limit adds the example, the default and the limits of s to schema.
func limit(s strictyaml.Setting, schema *jsonschema.Schema) {
	if s.Example != "" {
		schema.Examples = []any{s.Example}
	}
	if s.Default != "" {
		schema.Default = s.Default
		if isNumber(schema) {
			schema.Default = json.Number(s.Default)
		}
	}
	bound(s, schema)
}

func isNumber(schema *jsonschema.Schema) bool {
	return schema.Type == "integer" || schema.Type == "number"
}

// bound restricts schema, and the schemas inside it, to the words and numbers that s allows.
func bound(s strictyaml.Setting, schema *jsonschema.Schema) {
	for _, one := range schema.AnyOf {
		bound(s, one)
	}
	switch {
	case schema.Type == "object":
		for pair := schema.Properties.Oldest(); pair != nil; pair = pair.Next() {
			bound(s, pair.Value)
		}
	case schema.Type == "string" && s.Joined:
		one := "(" + strings.Join(s.Values(), "|") + ")"
		schema.Pattern = "^" + one + `(\+` + one + ")*$"
	case schema.Type == "string":
		for _, choice := range s.Choices {
			schema.Enum = append(schema.Enum, choice.Value)
		}
	case isNumber(schema):
		low := json.Number(strictyaml.FormatNumber(s.Min))
		if s.Above {
			schema.ExclusiveMinimum = low
		} else {
			schema.Minimum = low
		}
		schema.Maximum = json.Number(strictyaml.FormatNumber(s.Max))
	}
}

// anyName stands in paths for any key of a map; see strictyaml.Setting.
const anyName = "NAME"

// schemaAt returns the schema at a dotted path, in which [] stands for the elements of a list and
// anyName for the entries of a map. The path must exist.
func schemaAt(schema *jsonschema.Schema, path string) *jsonschema.Schema {
	for key := range strings.SplitSeq(path, ".") {
		name, isList := strings.CutSuffix(key, "[]")
		if name == anyName {
			schema = schema.AdditionalProperties
		} else {
			schema = schema.Properties.Value(name)
		}
		if isList {
			schema = schema.Items
		}
	}
	return schema
}
