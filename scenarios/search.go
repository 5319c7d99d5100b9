package scenarios

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"reuseport-bench/results/command"
	"reuseport-bench/scenarios/strictyaml"
)

// Search configures a search. Each planned trial is then a bisection, which measures each value
// that it tries in a trial of its own. If Setting is empty, the search looks for the highest rate
// at which nothing is dropped and response times stay within P99; load.rate must not be set.
// Otherwise it looks for the value of Setting, between From and To, nearest to From with which
// nothing is dropped.
type Search struct {
	Setting string `yaml:"setting,omitempty"`
	// From is the value that is expected to drop attempts, and To the value that is not. Both are
	// written as in Setting.
	From string `yaml:"from,omitempty"`
	To   string `yaml:"to,omitempty"`
	// P99 is the limit of the 99th percentile of response time. 0 means no limit and, if Setting is
	// empty, no search.
	P99       time.Duration `yaml:"p99,omitempty"`
	Precision float64       `yaml:"precision,omitempty"` // 0 means 0.03
}

// theRate is the setting that a search looks for if it names none.
const theRate = "load.rate"

// OfRate reports whether the highest rate is searched for.
func (s Search) OfRate() bool { return s.Setting == "" && s.P99 > 0 }

// OfSetting reports whether a value of a setting is searched for.
func (s Search) OfSetting() bool { return s.Setting != "" }

// Ends returns From and To as numbers; see Setup.SetNumber. The search must have been checked.
func (s Search) Ends() (from, to float64) {
	from, _ = numberAt(s.Setting, s.From)
	to, _ = numberAt(s.Setting, s.To)
	return from, to
}

// SearchStep returns the difference between two neighbouring values of the setting that is searched
// for, in the unit of SetNumber. It is 0 if there are values between any two values.
func (s *Setup) SearchStep() float64 {
	setting := s.Search.Setting
	if s.InPods() && s.Kube.real() && s.Kube.inSeconds(setting) {
		return float64(oneSecond)
	}
	field, _ := strictyaml.Lookup(new(Setup), setting)
	switch field.(type) {
	case *int, **int:
		return 1
	case *time.Duration, *Lag:
		return max(1, float64(format().Setting(setting).Multiple))
	}
	return 0
}

// Times reports whether the setting that is searched for is a duration.
func (s Search) Times() bool {
	switch field, _ := strictyaml.Lookup(new(Setup), s.Setting); field.(type) {
	case *time.Duration, *Lag:
		return true
	}
	return false
}

// SetNumber sets the setting at path to x: a number, or nanoseconds for a duration. The setting
// must be one that a search can look for.
func (s *Setup) SetNumber(path string, x float64) {
	switch field, _ := strictyaml.Lookup(s, path); field := field.(type) {
	case *int:
		*field = int(math.Round(x))
	case **int:
		*field = new(int(math.Round(x)))
	case *float64:
		*field = x
	case *time.Duration:
		*field = time.Duration(math.Round(x))
	case *Lag:
		*field = Lag{A: time.Duration(math.Round(x))}
	default:
		panic("scenarios: " + path + " has no number")
	}
}

// numberAt returns the number that text stands for in the setting at path.
func numberAt(path, text string) (float64, *strictyaml.Problem) {
	field, _ := strictyaml.Lookup(new(Setup), path)
	p := strictyaml.DecodeScalar(strictyaml.Scalar(text), field, format().Setting(path))
	if p != nil {
		return 0, p
	}
	switch field := field.(type) {
	case *int:
		return float64(*field), nil
	case **int:
		return float64(**field), nil
	case *float64:
		return *field, nil
	case *time.Duration:
		return float64(*field), nil
	case *Lag:
		if field.Distribution != "" {
			return 0, &strictyaml.Problem{What: text + " is a distribution",
				Hint: "a search looks for a fixed lag, for example 100ms"}
		}
		return float64(field.A), nil
	}
	panic("scenarios: " + path + " has no number")
}

// searchable returns the paths of the settings that a search can look for: numbers and durations of
// the setup.
var searchable = sync.OnceValue(func() (paths []string) {
	for _, path := range variable() {
		root, _, _ := strings.Cut(path, ".")
		if root == "search" || root == "validity" {
			continue
		}
		switch field, _ := strictyaml.Lookup(new(Setup), path); field.(type) {
		case *int, **int, *float64, *time.Duration, *Lag:
			paths = append(paths, path)
		}
	}
	return paths
})

// search checks the search. If it looks for a setting, it checks the setup at both ends, too.
func (c *setupCheck) search() {
	s := c.Search
	if !c.d.TrustsAll("search") {
		return
	}
	switch {
	case !s.OfSetting():
		c.searchOfRate()
		return
	case s.Setting == theRate:
		c.add("search.setting", ": load.rate is what a search looks for without setting",
			"remove setting, from and to, and give p99, for example p99: 20ms")
		return
	case !slices.Contains(searchable(), s.Setting):
		what := fmt.Sprintf(": %s is not a setting with a number", strictyaml.Quote(s.Setting))
		c.add("search.setting", what, strictyaml.DidYouMean(s.Setting, searchable(),
			"for example kube.pre_stop; '"+command.Line("schema")+"' lists all settings"))
		return
	}
	before := slices.Clone(c.found)
	var ends []float64
	for _, end := range []struct{ path, text string }{
		{"search.from", s.From}, {"search.to", s.To},
	} {
		if end.text == "" {
			c.add(end.path, " is missing",
				"search.from is a value that drops attempts, search.to a value that does not")
			continue
		}
		x, p := numberAt(s.Setting, end.text)
		if p != nil {
			c.add(end.path, ": "+p.What, p.Hint)
			continue
		}
		ends = append(ends, x)
		other := *c.Setup
		other.Search = Search{}
		other.SetNumber(s.Setting, x)
		other.complete()
		for _, f := range checkSetup(&other, c.d) {
			if !slices.Contains(before, f) {
				c.add(end.path, fmt.Sprintf(": with %s: %s, %s", s.Setting, end.text, f.what),
					f.hint)
			}
		}
	}
	if len(ends) == 2 && ends[0] == ends[1] {
		c.add("search.to", ": is the same as search.from", "give two values to search between")
	}
}

// searchOfRate checks that a search for the highest rate has no settings of a search for a setting.
func (c *setupCheck) searchOfRate() {
	s := c.Search
	for _, end := range []struct{ path, text string }{
		{"search.from", s.From}, {"search.to", s.To},
	} {
		if end.text != "" {
			c.add(end.path, ": there is no search.setting",
				"for example setting: kube.pre_stop; a search for the highest rate needs p99 only")
			return
		}
	}
}
