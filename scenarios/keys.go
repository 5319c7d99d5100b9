package scenarios

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"reuseport-bench/scenarios/strictyaml"
	"reuseport-bench/scenarios/vocabulary"
)

// A Key describes a key of scenario files, for documentation.
type Key struct {
	Path    string // dotted path; [] stands for every element of a list
	Doc     string // its meaning, in sentences
	Type    string // such as "duration", "word" or "list of …"
	Range   string // such as "1ms to 1m", or "" if the value has no bounds
	Default string // the value if a file omits the key, or ""
	Example string // a value if the type does not show how to write one, or ""
	Needs   string // the settings without which the key has no effect, or ""
	Values  []vocabulary.Value
	// Kubernetes lists the fields and objects of Kubernetes that correspond to the key.
	Kubernetes []string
}

// Keys returns every key of scenario files, in the order of the file format.
func Keys() []Key {
	of := map[string]Key{}
	for _, s := range settings() {
		of[s.Path] = settingKey(s)
	}
	for _, s := range sections() {
		of[s.path] = Key{Path: s.path, Doc: s.doc, Type: keyType(s.path), Default: s.unset}
	}
	var keys []Key
	for _, path := range paths(reflect.TypeFor[Scenario](), "") {
		if k, ok := of[path]; ok {
			keys = append(keys, k)
		}
	}
	return keys
}

// paths returns the paths of all keys in a struct type and in the structs inside it, in the order
// of the fields. Each path begins with prefix.
func paths(t reflect.Type, prefix string) (all []string) {
	for i := range t.NumField() {
		field := t.Field(i)
		key, option, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if option == "inline" {
			all = append(all, paths(field.Type, prefix)...)
			continue
		}
		if key == "" || key == "-" {
			continue
		}
		path := strictyaml.Join(prefix, key)
		all = append(all, path)
		of := field.Type
		if of.Kind() == reflect.Map && of.Elem().Kind() != reflect.String {
			path, of = strictyaml.Join(path, anyName), of.Elem()
			all = append(all, path)
		}
		if of.Kind() == reflect.Slice {
			path, of = path+"[]", of.Elem()
			all = append(all, path)
		}
		if of.Kind() == reflect.Struct {
			all = append(all, paths(of, path)...)
		}
	}
	return all
}

// settingKey describes the key of a single value.
func settingKey(s strictyaml.Setting) Key {
	k := Key{
		Path: s.Path, Doc: s.Doc, Type: keyType(s.Path), Default: s.Unset, Example: s.Example,
		Needs: s.Needs, Values: vocabulary.Values(s.Path), Kubernetes: inKubernetes()[s.Path],
	}
	if k.Default == "" {
		k.Default = s.Default
	}
	if s.Joined {
		k.Type = "words joined by +"
	}
	if s.Max > 0 {
		k.Range = s.Range(boundFormat(s.Path))
	}
	return k
}

// inKubernetes maps keys to the corresponding fields and objects of Kubernetes.
func inKubernetes() map[string][]string {
	return map[string][]string{
		"kube.placement":       {"nodeName", "hostNetwork"},
		"kube.users":           {"runAsUser"},
		"kube.proxy_mode":      {"mode"},
		"kube.min_sync_period": {"minSyncPeriod"},
		"kube.readiness":       {"readinessProbe"},
		"kube.probe_period":    {"periodSeconds"},
		"kube.min_ready":       {"minReadySeconds"},
		"kube.max_surge":       {"maxSurge"},
		"kube.max_unavailable": {"maxUnavailable"},
		"kube.min_available":   {"minAvailable", "PodDisruptionBudget"},
		"kube.pre_stop":        {"preStop"},
		"kube.grace":           {"terminationGracePeriodSeconds"},
		"kube.node_lag":        {"node-monitor-grace-period"},
	}
}

// boundFormat returns the function that formats the bounds of the setting at path.
func boundFormat(path string) func(float64) string {
	switch fieldAt(path).(type) {
	case *time.Duration, *Lag:
		return func(x float64) string { return strictyaml.FormatDuration(time.Duration(x)) }
	case *Rate:
		return func(x float64) string { return Rate{PerSecond: x}.String() }
	}
	return strictyaml.FormatNumber
}

// fieldAt returns a pointer to the field at path of a zero scenario.
func fieldAt(path string) any {
	inside, isElement := strings.CutSuffix(path, "[]")
	field, ok := strictyaml.Lookup(new(Scenario), inside)
	if !ok {
		panic("scenarios: no key " + path) // a mistake in the tables, which any test finds
	}
	if isElement {
		return reflect.New(reflect.TypeOf(field).Elem().Elem()).Interface()
	}
	return field
}

// keyType names the type of the key at path.
func keyType(path string) string {
	field := fieldAt(path)
	switch field.(type) {
	case *time.Duration:
		return "duration"
	case *Lag:
		return "duration, or uniform(A..B), exponential(MEAN), lognormal(MEDIAN..P99), " +
			"measured/NAME"
	case *Rate:
		return "rate"
	case *Connections:
		return "word or whole number"
	case *Command:
		return "text, or list of words"
	case *Start:
		return "word; or a command: text, or list of words"
	case *Signal:
		return "name of a signal"
	case *Statuses:
		return "HTTP statuses"
	case *map[string]string:
		return "mapping of names to texts"
	case *map[string]File:
		return "mapping of names to texts, or to {copy: PATH}"
	case *Labels:
		return "mapping of settings to a value"
	case *Block:
		return "mapping of settings to lists of values"
	}
	of := reflect.TypeOf(field).Elem()
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	switch of.Kind() {
	case reflect.Int:
		return "whole number"
	case reflect.Float64:
		return "number"
	case reflect.Bool:
		return "true or false"
	case reflect.Struct, reflect.Map:
		return "mapping"
	case reflect.Slice:
		return "list"
	}
	if of.PkgPath() == reflect.TypeFor[vocabulary.Path]().PkgPath() {
		return "word"
	}
	return "text"
}

// description returns the text that editors show for the key: its meaning, its needs, its default,
// and the meaning of each value. It includes the range only of values that are written as text,
// such as durations. The ranges of numbers are in fields of the schema.
func (k Key) description() string {
	var b strings.Builder
	b.WriteString(k.Doc)
	if k.Range != "" && k.Type != "whole number" && k.Type != "number" {
		fmt.Fprintf(&b, " Range: %s.", k.Range)
	}
	if k.Needs != "" {
		fmt.Fprintf(&b, " Needs %s.", k.Needs)
	}
	if k.Default != "" {
		fmt.Fprintf(&b, " Default: %s.", k.Default)
	}
	for _, v := range k.Values {
		fmt.Fprintf(&b, "\n%s: %s", v.Name, v.Doc)
		if len(v.Needs) > 0 {
			fmt.Fprintf(&b, " (needs %s)", strings.Join(v.Needs, "; "))
		}
		b.WriteString(".")
	}
	return b.String()
}
