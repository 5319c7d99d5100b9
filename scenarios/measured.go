package scenarios

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v4"

	"reuseport-bench/scenarios/strictyaml"
)

// measuredDir is the directory of the presets, and the first part of their names in scenarios.
const measuredDir = "measured"

//go:embed measured
var measuredFiles embed.FS

// A Measured is a distribution of lags that was measured in a real Kubernetes: a preset. See
// measured/README.md.
type Measured struct {
	Name   string          `yaml:"-"`
	About  string          `yaml:"about"`
	Source string          `yaml:"source"` // the run, and how to repeat it
	Lags   []time.Duration `yaml:"lags"`   // quantiles at equal distances, the shortest lag first
}

// presets maps the last part of a setting, such as "endpoint_lag", to its presets by name.
type presets map[string]map[string]*Measured

// ownPresets returns the presets in this program.
var ownPresets = sync.OnceValue(func() presets {
	all, err := readPresets(measuredFiles)
	if err != nil {
		panic("scenarios: " + err.Error()) // a mistake in the files, which any test finds
	}
	return all
})

// readPresets reads the files measured/SETTING/NAME.yaml.
func readPresets(files fs.FS) (presets, error) {
	names, err := fs.Glob(files, measuredDir+"/*/*.yaml")
	if err != nil {
		return nil, err
	}
	all := presets{}
	var errs []error
	for _, name := range names {
		m, err := readPreset(files, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		setting := path.Base(path.Dir(name))
		if all[setting] == nil {
			all[setting] = map[string]*Measured{}
		}
		all[setting][m.Name] = m
	}
	return all, errors.Join(errs...)
}

func readPreset(files fs.FS, name string) (*Measured, error) {
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, err
	}
	m := &Measured{Name: strings.TrimSuffix(path.Base(name), ".yaml")}
	if err := yaml.Load(text, m, yaml.WithKnownFields()); err != nil {
		return nil, err
	}
	switch {
	case !namePattern().MatchString(m.Name):
		return nil, errors.New("the name has more than lower-case words joined by hyphens")
	case m.About == "" || m.Source == "":
		return nil, errors.New("about or source is missing")
	case len(m.Lags) < 2 || m.Lags[0] < 0 || !slices.IsSorted(m.Lags):
		return nil, errors.New("lags: want at least two, in ascending order, and none below 0")
	}
	return m, nil
}

// lag returns the lag that the text measured/NAME stands for in a setting.
func (p presets) lag(text string, s strictyaml.Setting) (Lag, *strictyaml.Problem) {
	setting := s.Path[strings.LastIndex(s.Path, ".")+1:]
	name := strings.TrimPrefix(text, measuredDir+"/")
	if m := p[setting][name]; m != nil {
		return Lag{Distribution: measuredDir, Measured: m}, nil
	}
	hint := lagExamples
	names := slices.Sorted(maps.Keys(p[setting]))
	if len(names) > 0 {
		hint = "these were: " + strings.Join(names, ", ")
	}
	return Lag{}, &strictyaml.Problem{
		What: fmt.Sprintf("%q: no lags were measured under that name", text),
		Hint: strictyaml.DidYouMean(name, names, hint),
	}
}
