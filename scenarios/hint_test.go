package scenarios

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"reuseport-bench/scenarios/strictyaml"
)

// suggested matches a value that the hint for a number without a unit suggests.
var suggested = regexp.MustCompile(`(?:write|or|for example) ([-+.0-9]\S*?)(?:[,; ]|$)`)

// If a duration, a lag or a rate is written without a unit, the hint suggests values. The setting
// accepts each of them.
func TestHintsAreAccepted(t *testing.T) {
	numbers := []string{
		"0.9", "5", "7", "900", "1000", "1_000", "20000", "0.25", ".5", "+3", "0.0005", "0.00",
		"-5", "2.5", "90000000", "99999999999999",
	}
	var paths []string
	hints := 0
	for _, s := range settings() {
		field := fieldAt(s.Path)
		switch field.(type) {
		case *time.Duration, *Lag, *Rate:
		default:
			continue
		}
		paths = append(paths, s.Path)
		if p := decodeText(s.Example, field, s); p != nil {
			t.Errorf("%s: the example %q: %s; %s", s.Path, s.Example, p.What, p.Hint)
		}
		for _, number := range numbers {
			p := decodeText(number, field, s)
			x, err := strconv.ParseFloat(number, 64)
			if err != nil {
				t.Fatal(err)
			}
			if _, isRate := field.(*Rate); isRate && !s.Allows(x) {
				if p == nil || !strings.HasSuffix(p.What, "is out of range") {
					t.Errorf("%s: %s: %v, want a problem with its range", s.Path, number, p)
				}
				continue
			}
			if p == nil || !strings.HasSuffix(p.What, "has no unit") {
				t.Errorf("%s: %s: %v, want a problem with its unit", s.Path, number, p)
				continue
			}
			values := suggested.FindAllStringSubmatch(p.Hint, -1)
			if len(values) == 0 {
				t.Errorf("%s: %s: the hint %q suggests no value", s.Path, number, p.Hint)
			}
			for _, value := range values {
				hints++
				if again := decodeText(value[1], field, s); again != nil {
					t.Errorf("%s: %s: %q: %s; %s", s.Path, number, p.Hint, again.What, again.Hint)
				}
				d, ok := field.(*time.Duration)
				if ok && s.Multiple != 0 && *d%s.Multiple != 0 {
					t.Errorf("%s: %s: %q: not a multiple of %v", s.Path, number, p.Hint, s.Multiple)
				}
			}
		}
	}
	for _, path := range []string{"load.rate", "load.timeout", "kube.endpoint_lag"} {
		if !slices.Contains(paths, path) {
			t.Errorf("%s is not among %q", path, paths)
		}
	}
	if hints < 5*len(paths) {
		t.Errorf("%d hints for %d settings, want more", hints, len(paths))
	}
}

// decodeText decodes text as the value of a setting into field.
func decodeText(text string, field any, s strictyaml.Setting) *strictyaml.Problem {
	reflect.ValueOf(field).Elem().SetZero()
	return strictyaml.DecodeScalar(&yaml.Node{Kind: yaml.ScalarNode, Value: text}, field, s)
}

// Suggested values also pass the checks of the whole file, where these are stricter than the
// setting.
func TestHintsAreAcceptedInAFile(t *testing.T) {
	for _, file := range []string{
		"load: {rate: 100/s, duration: 1s, timeout: %s}\nnetwork: loopback\n",
		"load: {rate: 100/s, duration: 3s}\nserver: {defer_accept: %s}\n",
		"load: {rate: 100/s, duration: 3s}\nnetwork: veth\nround_trip: %s\n",
		"load: {rate: 100/s, duration: 3s}\nnetwork: cluster\npath: dns\ndns: {ttl: %s}\n",
		"load: {rate: %s, duration: 30s}\n",
	} {
		file = "name: x\nsockets: reuseport\n" + file
		for _, number := range []string{"0.2", "3", "1_000"} {
			_, err := Parse("x.yaml", fmt.Appendf(nil, file, number))
			if err == nil {
				t.Errorf("%s: a number without a unit is accepted:\n%s", number, file)
				continue
			}
			for _, value := range suggested.FindAllStringSubmatch(err.Error(), -1) {
				if _, err := Parse("x.yaml", fmt.Appendf(nil, file, value[1])); err != nil {
					t.Errorf("%s suggests %s: %v", number, value[1], err)
				}
			}
		}
	}
}
