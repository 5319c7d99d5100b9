package scenarios

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"reuseport-bench/scenarios/strictyaml"
)

// typesSource is where the schema takes its descriptions from, so that an editor says what the
// types' comments say.
//
//go:embed scenario.go
var typesSource string

// Schema returns a JSON Schema (draft 2020-12) of scenario files, for editors. It knows the keys,
// the allowed values, the ranges and the defaults; combinations are left to Load.
func Schema() ([]byte, error) {
	f := format()
	comments, err := typeComments()
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	reflector := &jsonschema.Reflector{
		FieldNameTag:               "yaml",
		DoNotReference:             true,
		RequiredFromJSONSchemaTags: true,
		Anonymous:                  true,
		Mapper:                     schemaOf,
		LookupComment: func(t reflect.Type, field string) string {
			return comments[strings.TrimSuffix(t.Name()+"."+field, ".")]
		},
	}
	schema := reflector.Reflect(&Scenario{})
	schema.Title = "reuseport-bench scenario"
	schema.Required = []string{"name"}
	for path, required := range map[string][]string{
		"timeline[]": {"do"}, "gates[]": {"expect"}, "load.stages[]": {"rate", "duration"},
	} {
		schemaAt(schema, path).Required = required
	}
	for _, s := range f.Settings {
		describe(s, schemaAt(schema, s.Path))
	}
	schemaAt(schema, "name").Pattern = namePattern().String()

	// A matrix key takes a list of what the setting itself takes, a label one of them.
	block, labels := objectSchema(), objectSchema()
	for _, path := range variable() {
		one := *schemaAt(schema, path)
		one.Default = nil
		labels.Properties.Set(path, &one)
		atLeastOne := uint64(1)
		block.Properties.Set(path, &jsonschema.Schema{Type: "array", Items: &one, MinItems: &atLeastOne})
	}
	*schemaAt(schema, "matrix[]") = *block
	for _, path := range []string{"baseline", "gates[].when"} {
		at := schemaAt(schema, path)
		at.Properties, at.AdditionalProperties = labels.Properties, labels.AdditionalProperties
	}
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return append(text, '\n'), nil
}

const durationPattern = `(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+)`

// schemaOf gives the types that are not written as they are stored.
func schemaOf(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: "^" + durationPattern + "$"}
	case reflect.TypeFor[Rate]():
		return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+(_[0-9]+)*(\.[0-9]+)?|\.[0-9]+)(/s| ?\* ?capacity)$`}
	case reflect.TypeFor[Lag]():
		pattern := "^(D|(uniform|lognormal)\\(D\\.\\.D\\)|exponential\\(D\\))$"
		return &jsonschema.Schema{Type: "string", Pattern: strings.ReplaceAll(pattern, "D", durationPattern)}
	case reflect.TypeFor[Connections]():
		count := objectSchema()
		count.Properties.Set(new(Connections).NumberKey(), &jsonschema.Schema{Type: "integer"})
		count.Required = []string{new(Connections).NumberKey()}
		anyOf := []*jsonschema.Schema{{Type: "string"}, {Type: "integer"}, count}
		return &jsonschema.Schema{AnyOf: anyOf}
	case reflect.TypeFor[Block](), reflect.TypeFor[Labels]():
		return objectSchema()
	}
	return nil
}

func objectSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema}
}

// describe adds to schema what s allows.
func describe(s strictyaml.Setting, schema *jsonschema.Schema) {
	for _, choice := range s.Choices {
		schema.Description += fmt.Sprintf("\n%s: %s.", choice.Value, choice.Doc)
	}
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

// bound adds to schema, and to what it is made of, which words and numbers s allows.
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

// schemaAt returns the schema at a dotted path, in which [] stands for the elements of a list. The
// path comes from the types themselves, so it is there.
func schemaAt(schema *jsonschema.Schema, path string) *jsonschema.Schema {
	for key := range strings.SplitSeq(path, ".") {
		name, isList := strings.CutSuffix(key, "[]")
		schema = schema.Properties.Value(name)
		if isList {
			schema = schema.Items
		}
	}
	return schema
}

// typeComments reads the doc comments of this package's types: "Step" and "Step.At" to text in one
// line.
func typeComments() (map[string]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "scenario.go", typesSource, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	comments := map[string]string{}
	line := func(doc *ast.CommentGroup) string { return strings.Join(strings.Fields(doc.Text()), " ") }
	for _, declaration := range file.Decls {
		general, ok := declaration.(*ast.GenDecl)
		if !ok || general.Tok != token.TYPE {
			continue
		}
		spec := general.Specs[0].(*ast.TypeSpec)
		comments[spec.Name.Name] = line(general.Doc)
		if fields, ok := spec.Type.(*ast.StructType); ok {
			for _, field := range fields.Fields.List {
				for _, name := range field.Names {
					comments[spec.Name.Name+"."+name.Name] = line(field.Doc)
				}
			}
		}
	}
	return comments, nil
}
