package scenarios

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v4"

	"reuseport-bench/scenarios/strictyaml"
)

func readSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	return &schema
}

// The embedded scenarios conform to the schema, and so does the output of Explain for them.
func TestSchemaCoversEmbedded(t *testing.T) {
	schema := readSchema(t)
	if got, want := schema.Version, "https://json-schema.org/draft/2020-12/schema"; got != want {
		t.Errorf("$schema = %q, want %q", got, want)
	}
	for _, name := range Names() {
		s, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		_, written, found := source(name)
		if !found {
			t.Fatalf("%s has no file", name)
		}
		for _, text := range [][]byte{written, explain(t, s)} {
			if diff := cmp.Diff(violations(t, schema, string(text)), []string(nil)); diff != "" {
				t.Errorf("%s (-got +want):\n%s", name, diff)
			}
		}
	}
}

// The schema does not allow single values that Load refuses.
func TestSchemaRefuses(t *testing.T) {
	schema := readSchema(t)
	const safe = `(safe|refused|unreachable|connect-timeout|unsent|unanswered|non-idempotent)`
	const stops = `[kill close drain migrate bpf-migrate bpf-drain inherit handoff tableflip ` +
		`bind-after-close lb-drain shutdown]`
	noConnections := []string{`load.connections: is none of string, integer, object`}
	tests := []struct {
		text string
		want []string
	}{
		{"sokets: shared", []string{`: no property "sokets"`, `: "name" is required`}},
		{"name: Has Blanks", []string{`name: "Has Blanks" does not match ^[a-z0-9]+(-[a-z0-9]+)*$`}},
		{"name: x\nsockets: share\nworkers: 0\nvalidity: {achieved: 2}", []string{
			`sockets: "share" is not in [shared reuseport exclusive server]`, `workers: 0 < 1`,
			`validity.achieved: 2 > 1`,
		}},
		{"name: x\nworkers: two\nserver: loop\ntimeline: {do: stall}", []string{
			`workers: want integer`, `server: want object`, `timeline: want array`,
		}},
		{"name: x\ntimeline: [{at: 5}]\nvalidity: {achieved: 0}", []string{
			`timeline[].at: want string`,
			`validity.achieved: 0 <= 0`,
		}},
		{"name: x\nload: {rate: 20/m, timeout: 5 days}", []string{
			`load.rate: "20/m" does not match ` +
				`^([0-9]+(_[0-9]+)*(\.[0-9]+)?|\.[0-9]+)(/s| ?\* ?capacity)$`,
			`load.timeout: "5 days" does not match ` +
				`^(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+)$`,
		}},
		{"name: x\nload: {retry: {on: refused+often, max: 11}}", []string{
			`load.retry.on: "refused+often" does not match ^` + safe + `(\+` + safe + `)*$`,
			`load.retry.max: 11 > 10`,
		}},
		{"name: x\nload: {connections: 8}\nmatrix: [{load.connections: [new, {count: 8}]}]", nil},
		{"name: x\nload: {connections: 0}", noConnections},
		{"name: x\nload: {connections: kept}", noConnections},
		{"name: x\nload: {connections: {count: 10001}}", noConnections},
		{"name: x\nload: {connections: {}}", noConnections},
		{"name: x\nmatrix: [{stop: [kil], load: [1]}]\nbaseline: {sokets: shared}\n" +
			"gates: [{when: {stop: kil}}]", []string{
			`matrix[].stop[]: "kil" is not in ` + stops, `matrix[]: no property "load"`,
			`baseline: no property "sokets"`,
			`gates[].when.stop: "kil" is not in ` + stops, `gates[]: "expect" is required`,
		}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(violations(t, schema, test.text), test.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", test.text, diff)
		}
	}
}

// Every key has a description.
func TestSchemaDescribesEverything(t *testing.T) {
	var walk func(schema *jsonschema.Schema, path string)
	walk = func(schema *jsonschema.Schema, path string) {
		for pair := schema.Properties.Oldest(); pair != nil; pair = pair.Next() {
			at := strictyaml.Join(path, pair.Key)
			if pair.Value.Description == "" && !strings.HasPrefix(at, "matrix[].") {
				t.Errorf("%s has no description", at)
			}
			walk(pair.Value, at)
			if pair.Value.Items != nil {
				walk(pair.Value.Items, at+"[]")
			}
		}
	}
	walk(readSchema(t), "")
}

// The schema has the same defaults as Load.
func TestSchemaDefaults(t *testing.T) {
	schema := readSchema(t)
	s, err := Parse("f", []byte(head))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range variable() {
		want := settingText(s.Setup, path)
		if set := format().Setting(path); set.Default == "" {
			// The setting has no default, or its default depends on another setting.
			if want = "<nil>"; set.Max > 0 && set.Unset == "" && path != "load.rate" &&
				path != "load.duration" {
				t.Errorf("%s: a number without a default", path)
			}
		}
		if got := fmt.Sprint(schemaAt(schema, path).Default); got != want {
			t.Errorf("%s: default %s, want %s", path, got, want)
		}
	}
}

// violations returns the violations of a schema in a document. It supports the part of JSON Schema
// that Schema uses.
func violations(t *testing.T, schema *jsonschema.Schema, text string) []string {
	t.Helper()
	var document yaml.Node
	if err := yaml.Load([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	var found []string
	validate(schema, document.Content[0], "", &found)
	return found
}

func validate(schema *jsonschema.Schema, n *yaml.Node, path string, found *[]string) {
	report := func(format string, values ...any) {
		*found = append(*found, path+": "+fmt.Sprintf(format, values...))
	}
	if len(schema.AnyOf) > 0 {
		var types []string
		for _, one := range schema.AnyOf {
			var wrong []string
			if validate(one, n, path, &wrong); len(wrong) == 0 {
				return
			}
			types = append(types, one.Type)
		}
		report("is none of %s", strings.Join(types, ", "))
		return
	}
	if schema.Type == "" {
		return // the schema allows anything
	}
	types := map[string]string{
		"!!map": "object", "!!seq": "array", "!!str": "string", "!!int": "integer",
		"!!float": "number", "!!bool": "boolean",
	}
	if got := types[n.ShortTag()]; got != schema.Type &&
		(got != "integer" || schema.Type != "number") {
		report("want %s", schema.Type)
		return
	}
	switch n.Kind {
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if schema.Items == nil {
				break // the schema allows anything
			}
			validate(schema.Items, item, path+"[]", found)
		}
		return
	case yaml.MappingNode:
		validateObject(schema, n, path, found, report)
		return
	}
	if len(schema.Enum) > 0 && !slices.Contains(schema.Enum, any(n.Value)) {
		report("%q is not in %v", n.Value, schema.Enum)
	}
	if schema.Pattern != "" && !regexp.MustCompile(schema.Pattern).MatchString(n.Value) {
		report("%q does not match %s", n.Value, schema.Pattern)
	}
	number, err := strconv.ParseFloat(n.Value, 64)
	if err != nil {
		return
	}
	above := func(bound json.Number, fails func(float64) bool, sign string) {
		if x, err := bound.Float64(); err == nil && fails(x) {
			report("%s %s %s", n.Value, sign, bound)
		}
	}
	above(schema.Minimum, func(x float64) bool { return number < x }, "<")
	above(schema.ExclusiveMinimum, func(x float64) bool { return number <= x }, "<=")
	above(schema.Maximum, func(x float64) bool { return number > x }, ">")
}

func validateObject(
	schema *jsonschema.Schema, n *yaml.Node, path string, found *[]string,
	report func(string, ...any),
) {
	keys := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i].Value
		keys[key] = true
		switch property := propertyOf(schema, key); {
		case property == nil:
		case reflect.DeepEqual(property, jsonschema.FalseSchema):
			report("no property %q", key)
		default:
			validate(property, n.Content[i+1], strictyaml.Join(path, key), found)
		}
	}
	for _, key := range schema.Required {
		if !keys[key] {
			report("%q is required", key)
		}
	}
}

// propertyOf returns the schema for the value of an object's property, or nil if the property may
// have any value.
func propertyOf(schema *jsonschema.Schema, key string) *jsonschema.Schema {
	if schema.Properties != nil {
		if property, ok := schema.Properties.Get(key); ok {
			return property
		}
	}
	for pattern, property := range schema.PatternProperties {
		if regexp.MustCompile(pattern).MatchString(key) {
			return property
		}
	}
	return schema.AdditionalProperties
}
