// Package claims decides widespread claims about SO_REUSEPORT and switchover, by the rules of
// claims.yaml and the figures of a run.
package claims

import (
	_ "embed"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"go.yaml.in/yaml/v4"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/unit"
)

// The verdicts.
const (
	VerdictHolds       = "holds"
	VerdictFails       = "fails"
	VerdictConditional = "conditional"
	VerdictNotTested   = "not tested"
)

//go:embed claims.yaml
var claimsYAML []byte

// A Rule is a claim and the predicates that decide it; claims.yaml documents the fields.
type Rule struct {
	ID          string                `yaml:"id"`
	Sentence    string                `yaml:"sentence"`
	Short       string                `yaml:"short"`
	Scenario    string                `yaml:"scenario"`
	Figures     map[string]FigureRule `yaml:"figures"`
	Also        []Source              `yaml:"also"`
	Fails       string                `yaml:"fails"`
	Conditional string                `yaml:"conditional"`
	Condition   string                `yaml:"condition"`
	// ShortCondition is Condition in a few words.
	ShortCondition string `yaml:"short_condition"`
	Holds          string `yaml:"holds"`
	Advice         Advice `yaml:"advice"`
	Note           string `yaml:"note"`
}

// A Source is another scenario that decides a claim.
type Source struct {
	Scenario string `yaml:"scenario"`
	// Labels has, by figure, the labels of the figure's variants in that scenario. Figures that it
	// does not name are not read from there. If Labels is nil, the rule's own labels apply.
	Labels map[string]map[string]string `yaml:"labels"`
}

// A FigureRule names a metric of the variants that have all of Labels.
type FigureRule struct {
	Labels   map[string]string `yaml:"labels"`
	Metric   string            `yaml:"metric"`
	Optional bool              `yaml:"optional"`
}

// A figure is the part of a Summary that predicates can use.
type figure struct {
	Center float64 `expr:"center"`
	Lo     float64 `expr:"lo"` // lo and hi are NaN without an interval
	Hi     float64 `expr:"hi"`
	N      int     `expr:"n"`
}

// Rules returns the claims ledger in its order.
func Rules() []Rule {
	var rules []Rule
	if err := yaml.Load(claimsYAML, &rules, yaml.WithKnownFields()); err != nil {
		panic(fmt.Sprintf("claims.yaml, embedded: %v", err)) // a test loads it
	}
	return rules
}

// Decide returns a verdict on every claim of the ledger. It reads the summaries of the run, which
// must be filled. available names the scenarios of this version. The verdict is "not tested", with
// the reason, if the claim's scenario does not exist, was not run, is void, lacks a variant or has
// too few valid trials of a variant, or if the figures do not decide the claim.
func Decide(run *results.Run, available []string) []results.Claim {
	rules := Rules()
	claims := make([]results.Claim, len(rules))
	for i, rule := range rules {
		d := rule.decide(run, available)
		claims[i] = results.Claim{
			ID: rule.ID, Verdict: d.verdict, Evidence: d.evidence, Advice: d.advice,
		}
	}
	return claims
}

// Tested returns the ids of the claims for which the run has a scenario with the variants that
// decide the claim.
func Tested(run *results.Run) map[string]bool {
	tested := map[string]bool{}
	for _, r := range Rules() {
		all := []*Rule{&r}
		for _, source := range r.Also {
			all = append(all, r.from(source))
		}
		tested[r.ID] = slices.ContainsFunc(all, func(r *Rule) bool {
			s := run.Scenario(r.Scenario)
			return s != nil && len(r.settings(s)) > 0
		})
	}
	return tested
}

// A decision is the verdict on a claim, and what follows from it.
type decision struct {
	verdict  string
	evidence []string
	advice   []string
}

// untested returns the decision on a claim that was not tested, with the reason.
func untested(reason string) decision {
	return decision{verdict: VerdictNotTested, evidence: []string{reason}}
}

// decide decides the claim by the rule's own scenario. If that leaves it untested, it tries the
// scenarios of Also.
func (r *Rule) decide(run *results.Run, available []string) decision {
	d := r.decideBy(run, available)
	if d.verdict != VerdictNotTested {
		return d
	}
	for _, source := range r.Also {
		other := r.from(source).decideBy(run, available)
		if other.verdict != VerdictNotTested {
			other.evidence = append([]string{"by scenario " + source.Scenario}, other.evidence...)
			return other
		}
	}
	return d
}

// from returns a copy of the rule that reads its figures from another scenario.
func (r *Rule) from(source Source) *Rule {
	other := *r
	other.Scenario, other.Also = source.Scenario, nil
	if source.Labels == nil {
		return &other
	}
	other.Figures = map[string]FigureRule{}
	for name, labels := range source.Labels {
		figure := r.Figures[name]
		figure.Labels = labels
		other.Figures[name] = figure
	}
	return &other
}

func (r *Rule) decideBy(run *results.Run, available []string) decision {
	scenario := run.Scenario(r.Scenario)
	switch {
	case scenario == nil && !slices.Contains(available, r.Scenario):
		return untested("needs scenario " + r.Scenario + " (not in this version)")
	case r.Holds == "" && r.Fails == "" && r.Conditional == "":
		return untested("this version has no rule to decide it by")
	case scenario == nil:
		return untested("run scenario " + r.Scenario)
	case scenario.Void != "":
		return untested(scenario.Name + " is void: " + scenario.Void)
	}
	settings := r.settings(scenario)
	if len(settings) == 0 {
		return untested(r.missing(scenario))
	}
	var tested []judgement
	var evidence []string
	for _, name := range settings {
		j := r.judge(scenario, name)
		if j.verdict != VerdictNotTested {
			tested = append(tested, j)
		}
		for _, line := range j.evidence {
			if name != "" {
				line = "at " + name + ": " + line
			}
			evidence = append(evidence, line)
		}
	}
	return combine(tested, evidence)
}

// combine combines the verdicts at the settings that tested the claim. If they agree, it returns
// their verdict, otherwise VerdictConditional.
func combine(tested []judgement, evidence []string) decision {
	if len(tested) == 0 {
		return decision{verdict: VerdictNotTested, evidence: evidence}
	}
	d := decision{verdict: tested[0].verdict, evidence: evidence, advice: worst(tested)}
	var parts []string
	for _, j := range tested {
		parts = append(parts, fmt.Sprintf("%s at %s", j.verdict, j.setting))
		if j.verdict != tested[0].verdict {
			d.verdict = VerdictConditional
		}
	}
	if d.verdict != tested[0].verdict {
		d.evidence = append([]string{strings.Join(parts, ", ")}, evidence...)
	}
	return d
}

// settings returns the settings at which the scenario can decide the claim. A setting is the labels
// of a variant that the rule's figures do not name: if a matrix also varies the rate, the claim is
// decided once per rate. All required figures must have a variant at a setting. It is "" if nothing
// else varies.
func (r *Rule) settings(s *results.Scenario) []string {
	var found []string
	for _, v := range s.Variants {
		for _, f := range r.Figures {
			if rest, ok := f.rest(v); ok && !f.Optional && !slices.Contains(found, rest) {
				found = append(found, rest)
			}
		}
	}
	return slices.DeleteFunc(found, func(rest string) bool {
		for _, f := range r.Figures {
			if !f.Optional && f.find(s, rest) == nil {
				return true
			}
		}
		return false
	})
}

// rest returns the setting of a variant: the labels that the figure does not name. It also returns
// whether the figure selects the variant.
func (f FigureRule) rest(v *results.Variant) (string, bool) {
	if v.IsAA() || !results.Includes(v.Labels, f.Labels) {
		return "", false
	}
	rest := f.others(v)
	if len(rest) == 0 {
		return "", true
	}
	return results.LabelString(rest), true
}

// others returns the labels of the variant that the figure does not name.
func (f FigureRule) others(v *results.Variant) map[string]string {
	others := maps.Clone(v.Labels)
	maps.DeleteFunc(others, func(key, _ string) bool { _, named := f.Labels[key]; return named })
	return others
}

// find returns the variant that the figure selects at a setting, or nil.
func (f FigureRule) find(s *results.Scenario, rest string) *results.Variant {
	for _, v := range s.Variants {
		if have, ok := f.rest(v); ok && have == rest {
			return v
		}
	}
	return nil
}

// missing describes the required variant that the scenario lacks.
func (r *Rule) missing(s *results.Scenario) string {
	for _, name := range slices.Sorted(maps.Keys(r.Figures)) {
		f := r.Figures[name]
		has := slices.ContainsFunc(s.Variants, func(v *results.Variant) bool {
			_, ok := f.rest(v)
			return ok
		})
		if !f.Optional && !has {
			return fmt.Sprintf("%s was run without a variant %s", s.Name,
				results.LabelString(f.Labels))
		}
	}
	return fmt.Sprintf("%s has no set of variants that differ in nothing else", s.Name)
}

// A judgement is the decision at one setting.
type judgement struct {
	setting  string
	verdict  string
	evidence []string
	advice   advice
}

// judge decides the claim at one setting.
func (r *Rule) judge(s *results.Scenario, setting string) judgement {
	j := judgement{setting: setting, verdict: VerdictNotTested}
	env := map[string]any{}
	measured := map[string]measurement{}
	byLabels := map[string]int{} // labels → index in evidence
	for _, name := range slices.Sorted(maps.Keys(r.Figures)) {
		rule := r.Figures[name]
		v := rule.find(s, setting)
		summary, reason := rule.read(s, v)
		switch {
		case reason == "":
			env[name] = newFigure(summary)
			measured[name] = measurement{rule, v, summary}
			variant, text := results.LabelString(rule.Labels), describe(rule.Metric, summary)
			if i, ok := byLabels[variant]; ok {
				j.evidence[i] += "; " + text
				continue
			}
			byLabels[variant] = len(j.evidence)
			j.evidence = append(j.evidence, variant+": "+text)
		case !rule.Optional:
			j.evidence = []string{reason}
			return j
		}
	}
	for _, p := range []struct{ verdict, predicate, condition string }{
		{VerdictFails, r.Fails, ""},
		{VerdictConditional, r.Conditional, r.Condition},
		{VerdictHolds, r.Holds, ""},
	} {
		if p.predicate == "" || !evaluate(p.predicate, env) {
			continue
		}
		if p.condition != "" {
			j.evidence = append([]string{p.condition}, j.evidence...)
		}
		j.verdict = p.verdict
		j.advice = newAdvice(r.Advice.after(p.verdict), measured)
		return j
	}
	const why = "the figures do not decide; more trials may"
	j.evidence = append([]string{why}, j.evidence...)
	return j
}

// read returns the figure's summary, or the reason why it cannot be used.
func (f FigureRule) read(s *results.Scenario, v *results.Variant) (results.Summary, string) {
	if v == nil {
		return results.Summary{}, "no variant " + results.LabelString(f.Labels)
	}
	name := results.LabelString(v.Labels)
	valid := len(v.ValidTrials())
	summary, ok := v.Summary[f.Metric]
	switch {
	case v.SkippedReason != nil:
		return results.Summary{}, fmt.Sprintf("%s was skipped: %s", name, *v.SkippedReason)
	case valid < max(s.MinValid, 1):
		return results.Summary{}, fmt.Sprintf("%s has %s of %d, and needs %d", name,
			unit.Plural(valid, "valid trial"), len(v.Trials), max(s.MinValid, 1))
	case !ok:
		return results.Summary{}, fmt.Sprintf("%s has no %s", name, f.Metric)
	}
	return summary, ""
}

func newFigure(s results.Summary) figure {
	f := figure{Center: s.Center, Lo: math.NaN(), Hi: math.NaN(), N: s.N}
	if s.Lo != nil && s.Hi != nil {
		f.Lo, f.Hi = *s.Lo, *s.Hi
	}
	return f
}

// evaluate evaluates a predicate of the ledger.
func evaluate(predicate string, env map[string]any) bool {
	out, err := expr.Eval(predicate, env)
	if err != nil {
		// A test checks the types.
		panic(fmt.Sprintf("claims.yaml, embedded: %s: %v", predicate, err))
	}
	return out.(bool)
}

// describe writes a summary as evidence: the figure, its interval, and the number of trials or
// restarts.
func describe(metric string, s results.Summary) string {
	m, _ := metrics.Find(metric)
	write := func(x float64) string { return m.Unit.Text(x, 3) }
	over := "trial"
	if m.OverRestarts {
		over = "restart"
	}
	if s.TooFew {
		return fmt.Sprintf("%s %s in %s: too few", metric, unit.Digits(s.Center*float64(s.N), 6),
			unit.Plural(s.N, over))
	}
	if s.Method == results.MethodRuleOfThree && s.Hi != nil {
		return fmt.Sprintf("%s none in %s (≤ %s)", metric, unit.Plural(s.N, over), write(*s.Hi))
	}
	figure := unit.Spread(s.Center, s.Lo, s.Hi, write)
	return fmt.Sprintf("%s %s (%s)", metric, figure, unit.Plural(s.N, over))
}
