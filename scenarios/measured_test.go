package scenarios

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"reuseport-bench/scenarios/strictyaml"
)

const presetFile = "about: for this test\nsource: nowhere\nlags: [1ms, 2ms, 10ms]\n"

func presetFiles(text string) fstest.MapFS {
	return fstest.MapFS{"measured/rules_lag/in-a-test.yaml": {Data: []byte(text)}}
}

// A preset is a value of the setting whose directory its file is in, and of no other.
func TestPreset(t *testing.T) {
	all, err := readPresets(presetFiles(presetFile))
	if err != nil {
		t.Fatal(err)
	}
	rules := strictyaml.Setting{Path: "kube.rules_lag", Max: minute}
	lag, p := all.lag("measured/in-a-test", rules)
	if p != nil {
		t.Fatal(p)
	}
	if got := lag.String(); got != "measured/in-a-test" {
		t.Errorf("it is written as %q", got)
	}
	if got, want := lag.Typical(), 2*time.Millisecond; got != want {
		t.Errorf("typical: %v, want %v", got, want)
	}
	if got, want := lag.Long(), 10*time.Millisecond; got != want {
		t.Errorf("long: %v, want %v", got, want)
	}
	for path, hint := range map[string]string{
		"kube.rules_lag":    `did you mean "in-a-test"?`,
		"kube.endpoint_lag": lagExamples,
	} {
		_, p := all.lag("measured/in-a-tent", strictyaml.Setting{Path: path})
		if p == nil || p.Hint != hint {
			t.Errorf("an unknown name for %s: %v, want the hint %q", path, p, hint)
		}
	}
	if _, p := all.lag("measured/another-name", rules); p == nil ||
		!strings.Contains(p.Hint, "these were: in-a-test") {
		t.Errorf("an unknown name: %v, want a hint with the names", p)
	}
}

// A preset without a source, or whose lags are not in order, is refused.
func TestPresetRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no source":   strings.Replace(presetFile, "source: nowhere\n", "", 1),
		"order":       strings.Replace(presetFile, "2ms", "20ms", 1),
		"negative":    strings.Replace(presetFile, "1ms", "-1ms", 1),
		"one lag":     strings.Replace(presetFile, "1ms, 2ms, ", "", 1),
		"unit":        strings.Replace(presetFile, "10ms", "10", 1),
		"unknown key": presetFile + "lag: 1ms\n",
	} {
		if got, err := readPresets(presetFiles(text)); err == nil {
			t.Errorf("%s: accepted: %v", name, got)
		}
	}
}

// Every preset in this program belongs to a setting, and is in its range.
func TestPresets(t *testing.T) {
	for setting, all := range ownPresets() {
		path := "kube." + setting
		for name, m := range all {
			lag, p := ownPresets().lag("measured/"+name, format().Setting(path))
			if p != nil {
				t.Error(p)
				continue
			}
			if _, isLag := fieldAt(path).(*Lag); !isLag || lag.Long() > time.Minute {
				t.Errorf("%s: %s: the longest lag is %v, want a lag of at most 1m", path, name,
					m.Lags[len(m.Lags)-1])
			}
		}
	}
}
