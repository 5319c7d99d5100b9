package scenarios

import (
	"fmt"
	"math"
	"strings"
	"sync"

	"reuseport-bench/results/metrics"
)

// BaselinePrefix is the beginning of the names of the baseline's figures in expectations.
const BaselinePrefix = "baseline."

// A figure is a number that an expectation can name: a metric, which has a confidence interval, or
// a count, which is exact.
type figure struct {
	name     string // as in run.json
	needs    metrics.Need
	loop     metrics.Loop
	values   interval // the range of possible values
	exact    bool     // whether the figure is a count
	compared bool     // whether it can be compared with the same figure of the baseline
}

// allowed describes the values that the figure can have.
func (f figure) allowed() string {
	switch v := f.values; {
	case v.lo == 0 && math.IsInf(v.hi, 1) && v.whole:
		return "a whole number, 0 or more"
	case v.lo == 0 && math.IsInf(v.hi, 1):
		return "0 or more"
	case !math.IsInf(v.lo, 0) && !math.IsInf(v.hi, 0):
		return fmt.Sprintf("%g to %g", v.lo, v.hi)
	}
	return "any number"
}

// figures lists every figure, counts first.
func figures() (all []figure) {
	counted := map[string]bool{}
	for _, c := range metrics.Counts() {
		counted[c.Name] = true
		count := interval{lo: 0, hi: math.Inf(1), whole: true}
		all = append(all, figure{name: c.Name, needs: c.Needs, values: count, exact: true})
	}
	for _, m := range metrics.All() {
		if !counted[m.Name] {
			lo, hi := m.Range()
			all = append(all, figure{
				name: m.Name, needs: m.Needs, loop: m.Loop, values: interval{lo: lo, hi: hi},
				compared: m.Compared(),
			})
		}
	}
	return all
}

// aliases maps the names of percentiles in run.json to their older names: "response_p99_ns" to
// "response.p99".
func aliases() map[string]string {
	old := map[string]string{}
	for _, of := range []string{"response", "service"} {
		for _, p := range []string{"p50", "p90", "p99", "p999", "max"} {
			old[of+"_"+p+"_ns"] = of + "." + p
		}
	}
	return old
}

// A figureNames holds the names that expectations may use, and the figures that they name.
type figureNames struct {
	spelled []string          // every name, in the order in which hints list them
	names   map[string]string // as spelled → as in run.json; both may have BaselinePrefix
	figures map[string]figure // by the name in run.json, without BaselinePrefix
}

// allFigures returns the names of every figure.
var allFigures = sync.OnceValue(newFigureNames)

func newFigureNames() figureNames {
	v := figureNames{names: map[string]string{}, figures: map[string]figure{}}
	add := func(spelled, name string) {
		v.spelled = append(v.spelled, spelled)
		v.names[spelled] = name
	}
	old := aliases()
	for _, prefix := range []string{"", BaselinePrefix} {
		for _, f := range figures() {
			v.figures[f.name] = f
			add(prefix+f.name, prefix+f.name)
			if alias, ok := old[f.name]; ok {
				add(prefix+alias, prefix+f.name)
			}
		}
	}
	return v
}

// figure returns the figure with the given name in run.json. The name may begin with
// BaselinePrefix.
func (v figureNames) figure(name string) figure {
	return v.figures[strings.TrimPrefix(name, BaselinePrefix)]
}
